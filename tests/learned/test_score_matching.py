"""What is learned: the exact denoiser of the training set, for every parametrisation."""

from __future__ import annotations

import math

import pytest
import torch
from learned_problems import QUICK, TRAINING, fitted, points
from torch import Tensor, nn

from mempost.core.level import NoiseLevel
from mempost.core.streams import Streams
from mempost.methods.score_matching.denoiser import Denoiser
from mempost.methods.score_matching.parametrisation import coefficients, loss_weight
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.learned_score import LearnedScore
from mempost.testing import parametrize_with_checks, plugin_named

FORMS = ["x0", "epsilon", "edm"]
CONVERGED = {
    "network": {"type": "residual_mlp", "width": 64, "blocks": 2, "embedding": 32},
    "schedule": {"type": "ve", "sigma_min": 0.05, "sigma_max": 20.0},
    "steps": 1000,
    "batch": 128,
    "learning_rate": 5e-3,
    "ema": 0.99,
    "sample_steps": 20,
}
LEVELS = [0.1, 0.5, 1.0, 2.0, 5.0]
SHORT = {**CONVERGED, "steps": 400}


@parametrize_with_checks(
    [
        plugin_named("prior:learned_score", hyper)
        for hyper in (
            {"parametrisation": "epsilon", "schedule": {"type": "vp_discrete"}},
            {"parametrisation": "edm", "times": "log_normal", "standardise": True},
            {
                "network": {"type": "unet_1d", "channels": [4, 4]},
                "snapshots": [3, 9],
                "snapshot": 9,
            },
        )
    ]
)
def test_conformance(check):
    check()


def relative_error(found, exact, level: NoiseLevel, x: Tensor) -> float:
    """Root mean square of D - D* over states z, in units of the spread of the data."""
    spread = float((x - x.mean(0)).square().mean().sqrt())
    z = level.perturb(x[torch.arange(300) % len(x)], Streams(1, "noise").at())
    difference = found.denoise(z, level) - exact.denoise(z, level)
    return float(difference.square().mean().sqrt()) / spread


@pytest.fixture(scope="module")
def five():
    """Five points in eight dimensions, and what x0 training makes of them."""
    x = points(5, 8, torch.float32)
    return x, fitted(x, **CONVERGED)


def test_the_network_finds_the_exact_denoiser_of_the_training_set(five):
    """At most a tenth of the spread of the data, which is the error of knowing their mean alone at
    small noise."""
    x, prior = five
    exact = EmpiricalGMM(bandwidth=0.0).fit(x)
    errors = [relative_error(prior, exact, NoiseLevel(1.0, s), x) for s in LEVELS]
    assert max(errors) < 0.1, errors
    assert errors[0] < 0.03


def test_unconditional_samples_are_training_points(five):
    x, prior = five
    distances = torch.cdist(prior.sample(128, Streams(0, "sampling")), x)
    nearest, which = distances.min(1)
    spacing = float(torch.pdist(x).min())
    assert float(nearest.median()) < 0.03 * spacing
    assert which.unique().numel() == len(x)


@pytest.mark.parametrize("name", FORMS)
def test_every_parametrisation_means_the_same_denoiser(name):
    """A network that says exactly what its parametrisation asks for gives the exact denoiser."""
    x = points(40, 3)
    spread = float((x - x.mean(0)).square().mean().sqrt())
    exact = Gaussian().fit(x)
    sigma = torch.tensor([[0.05], [0.7], [9.0]], dtype=torch.float64)
    z = x[:3] + sigma * Streams(2, "noise").at().normal((3, 3))
    mean = exact.denoise(z, NoiseLevel(1.0, sigma[:, 0]))
    said = {
        "x0": (mean - x.mean(0)) / spread,
        "epsilon": (z - mean) / sigma,
        "edm": (mean - x.mean(0) - spread**2 / (spread**2 + sigma**2) * (z - x.mean(0)))
        * (spread**2 + sigma**2).sqrt()
        / (spread * sigma),
    }[name]

    class Oracle(nn.Module):
        def forward(self, inputs: Tensor, clock: Tensor) -> Tensor:
            vp = (z - x.mean(0)) / (sigma**2 + spread**2).sqrt()
            torch.testing.assert_close(inputs, vp)
            return said

    found = Denoiser(Oracle(), name, x.mean(0), spread, 0.01, 40.0)(z, sigma)
    torch.testing.assert_close(found, mean, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_the_output_weighting_is_the_error_of_what_the_network_says(name):
    sigma = torch.logspace(-2, 2, 9, dtype=torch.float64)
    c = coefficients(name, sigma, 1.7)
    torch.testing.assert_close(loss_weight("output", name, sigma, 1.7) * c.out**2, c.out**0)
    natural = {"x0": "x0", "epsilon": "epsilon", "edm": "edm"}[name]
    torch.testing.assert_close(
        loss_weight("output", name, sigma, 1.7), loss_weight(natural, name, sigma, 1.7)
    )
    snr = 1.7**2 / sigma**2
    torch.testing.assert_close(
        loss_weight("min_snr", name, sigma, 1.7), snr.clamp(max=5.0) / 1.7**2
    )


@pytest.mark.parametrize("name", FORMS)
def test_gaussian_data_have_a_linear_score(name):
    """Many Gaussian examples: D = mu + C (C + sigma^2)^-1 (z - mu), where memorizing them is out of
    reach of a small network at noise well above their spacing."""
    x = points(4000, 2, torch.float32) * torch.tensor([1.0, 0.3])
    prior = fitted(x, **SHORT, parametrisation=name, train_on=[(0.3, 5.0)])
    exact = Gaussian().fit(x)
    for s in (0.5, 1.0, 3.0):
        error = relative_error(prior, exact, NoiseLevel(1.0, s), x)
        allowed = 0.08 * (max(s, 1.0) if name == "epsilon" else 1.0)  # of x, and of the noise
        assert error < allowed, (s, error)


def test_tikhonov_divides_the_score_by_the_noise_and_the_penalty():
    """One training point: S = (x - z)/(sigma^2 + c), so D - z = (x - z) sigma^2/(sigma^2 + c)."""
    x, c = torch.tensor([[0.7, -1.1]]), 0.5
    prior = fitted(x, **{**SHORT, "tikhonov": c, "parametrisation": "edm"})
    for s in (0.5, 1.0, 3.0):
        level = NoiseLevel(1.0, s)
        z = level.perturb(x.expand(200, 2), Streams(1, "noise").at())
        expected = (x - z) / (s**2 + c)
        error = (prior.score(z, level) - expected).square().mean().sqrt()
        assert float(error) < 0.06 * float(expected.square().mean().sqrt())


# -- any level, any schedule ------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_a_variance_preserving_state_is_answered_at_the_matched_level(name):
    prior = fitted(parametrisation=name)
    z = points(4, 3)
    for a in (0.99, 0.6, 0.05):
        s = math.sqrt(1 - a**2)
        found = prior.denoise(z, NoiseLevel(a, s))
        torch.testing.assert_close(found, prior.denoise(z / a, NoiseLevel(1.0, s / a)))


def test_outside_the_trained_range():
    prior = fitted(schedule={"type": "ve", "sigma_min": 0.1, "sigma_max": 4.0})
    z, mu = points(4, 3), prior.denoiser.centre
    held = prior.score(z, NoiseLevel(1.0, 0.1))
    for s in (0.03, 1e-3):
        torch.testing.assert_close(prior.score(z, NoiseLevel(1.0, s)), held, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(prior.denoise(z, NoiseLevel(0.5, 0.0)), z / 0.5)
    top = prior.denoise(mu + (z - mu) / 10, NoiseLevel(1.0, 4.0))
    torch.testing.assert_close(prior.denoise(z, NoiseLevel(1.0, 40.0)), top)
    for s in (0.1, 4.0):
        below, above = (prior.denoise(z, NoiseLevel(1.0, s * (1 + e))) for e in (-1e-9, 1e-9))
        torch.testing.assert_close(below, above, rtol=1e-6, atol=1e-6)


def test_data_may_be_shifted_and_scaled():
    """The network sees centred data of unit size: the fit moves with the data."""
    x = points()
    base, moved = fitted(x), LearnedScore.model_validate(QUICK).fit(8 * x, streams=TRAINING)
    assert math.isclose(moved.denoiser.sigma_data, 8 * base.denoiser.sigma_data, rel_tol=1e-12)
    torch.testing.assert_close(moved.denoiser.centre, 8 * base.denoiser.centre)


def test_standardised_coordinates_lead_back_to_raw_ones():
    x = points(30, 3) * torch.tensor([1.0, 10.0, 0.1]) + 5
    prior = fitted(x, standardise=True)
    raw = prior.coordinates.to_raw(prior.sample(64, Streams(0, "sampling")))
    assert ((raw - x.mean(0)).abs() < 6 * x.std(0)).all()
    assert abs(prior.denoiser.sigma_data - 1) < 0.05
