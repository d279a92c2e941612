"""Regularised priors: their denoisers by the equations, their derivatives, their limit laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flows import TALK, on_example, run, standard_errors, talk_points
from scipy.stats import chi2

from mempost.core.capabilities import HasExamples, HasLimitLaw, ask
from mempost.core.denoised import Denoised
from mempost.core.errors import PluginError
from mempost.core.level import NoiseLevel
from mempost.core.streams import Streams
from mempost.plugins.priors.empirical_bayes import EmpiricalBayes
from mempost.plugins.priors.smoothed import Smoothed
from mempost.plugins.priors.tikhonov import Tikhonov

ATOMS = {"type": "empirical_gmm", "bandwidth": 0.0}
KERNELS = {"type": "empirical_gmm", "bandwidth": 0.4}
GAUSSIAN = {"type": "gaussian", "mean": [0.4, -1.0], "covariance": [[1.0, 0.3], [0.3, 0.5]]}
LEVELS = NoiseLevel(torch.tensor([1.0, 0.8, 0.3]).double(), torch.tensor([0.3, 0.6, 0.95]).double())
Z = torch.tensor([[0.3, -0.9], [1.2, 0.4], [-0.7, 0.1]]).double()
COARSE = {"type": "dormand_prince", "tolerance": 1e-3}


def columns():
    return (torch.as_tensor(x)[:, None] for x in (LEVELS.a, LEVELS.s))


def test_tikhonov_is_the_score_over_a_larger_variance():
    x = talk_points()
    prior = Tikhonov(base=ATOMS, c=0.2).fit(x)
    a, s = columns()
    w = torch.softmax(-(Z[:, None] - a[..., None] * x).square().sum(-1) / (2 * s**2), -1)
    u, variance = Z / a, (s / a) ** 2
    score = (prior.denoise(Z, LEVELS) - u) / variance
    torch.testing.assert_close(score, (w @ x - u) / (variance + 0.2))


def test_tikhonov_by_direction_divides_by_variances_of_the_data():
    """(sigma^2 I + c Sigma^-1)^-1 (m - u), equation 5.3 of the paper."""
    x = talk_points() @ torch.tensor([[1.0, 0.7], [0.0, 0.3]]).double()
    prior = Tikhonov(base=ATOMS, c=0.2, directions="covariance").fit(x)
    a, s = columns()
    u, variance, mean = Z / a, (s / a) ** 2, prior.base.denoise(Z, LEVELS)
    score = (prior.denoise(Z, LEVELS) - u) / variance
    penalty = 0.2 * torch.linalg.inv(torch.cov(x.T))
    for i in range(3):
        matrix = variance[i] * torch.eye(2) + penalty
        torch.testing.assert_close(score[i], torch.linalg.solve(matrix, mean[i] - u[i]))


def test_empirical_bayes_is_kernels_over_a_threshold():
    x, tau = talk_points(), 0.5
    prior = EmpiricalBayes(base=ATOMS, tau=tau).fit(x)
    z = torch.cat([Z, 8 * Z])  # near the data and far from them
    level = NoiseLevel(LEVELS.a.repeat(2), LEVELS.s.repeat(2))
    a, s = (torch.as_tensor(v)[:, None] for v in (level.a, level.s))
    kernels = torch.exp(-(z[:, None] - a[..., None] * x).square().sum(-1) / (2 * s**2))
    total = kernels.sum(-1, keepdim=True)
    assert bool((total < tau).any()) and bool((total > tau).any())
    w = kernels / total.clamp(min=tau)
    score = (a * (w @ x) - w.sum(-1, keepdim=True) * z) / s**2
    torch.testing.assert_close((a * prior.denoise(z, level) - z) / s**2, score)


def test_smoothing_averages_over_centred_states():
    prior = Smoothed(base=ATOMS, width=0.5, perturbations=5).fit(talk_points())
    shifts = prior.shifts
    torch.testing.assert_close(shifts.mean(0), torch.zeros(2).double(), atol=1e-15, rtol=0)
    torch.testing.assert_close(shifts.square().mean(0), torch.full((2,), 0.25).double())
    a = LEVELS.a[:, None]
    scores = [prior.base.score(Z + a * shift, LEVELS) for shift in shifts]
    torch.testing.assert_close(prior.score(Z, LEVELS), torch.stack(scores).mean(0))


def test_smoothing_leaves_a_linear_denoiser():
    prior = Smoothed(base=GAUSSIAN, width=2.0).fit()
    torch.testing.assert_close(prior.denoise(Z, LEVELS), prior.base.denoise(Z, LEVELS))
    assert ask(prior, HasExamples) is None


@pytest.mark.parametrize("base", [ATOMS, KERNELS, GAUSSIAN], ids=["atoms", "kernels", "gaussian"])
@pytest.mark.parametrize(
    ("kind", "hyper"),
    [
        (Tikhonov, {"c": 0.3}),
        (Tikhonov, {"c": {"type": "power", "c": 0.3, "exponent": -1.0}}),
        (Tikhonov, {"c": 0.1, "directions": "covariance"}),
        (EmpiricalBayes, {"tau": 3.0}),
        (EmpiricalBayes, {"tau": 0.01}),
        (Smoothed, {"width": 0.5}),
    ],
)
def test_products_are_those_of_automatic_differentiation(kind, hyper, base):
    x = None if base is GAUSSIAN else talk_points()
    if x is None and "directions" in hyper:
        return
    prior = kind(base=base, **hyper).fit(x)
    at, plain = prior.at(Z, LEVELS), Denoised(prior, Z, LEVELS)
    v = Z.flip(0).contiguous()
    torch.testing.assert_close(at.mean, prior.denoise(Z, LEVELS))
    torch.testing.assert_close(at.vjp(v), plain.vjp(v))
    torch.testing.assert_close(at.covariance_product(v), plain.covariance_product(v))
    torch.testing.assert_close(at.score, prior.score(Z, LEVELS))


@pytest.mark.parametrize(
    "c",
    [
        0.05,
        {"type": "power", "c": 0.2, "exponent": 1.0},
        {"type": "power", "c": 0.2, "exponent": -1.0},
        {"type": "preserving", "c": 0.1, "sigma_max": 30.0},
    ],
)
def test_the_flow_to_one_atom_ends_at_the_spread_of_its_law(c):
    """With one atom the law is exact: e at the start is h e at the end."""
    prior = Tikhonov(base=ATOMS, c=c).fit(torch.tensor([[1.0, -2.0]]).double())
    high = 30.0 if isinstance(c, dict) and c["type"] == "preserving" else 1e5
    solver = {"type": "dormand_prince", "tolerance": 1e-8}
    samples = run(prior, 32, sigma_max=high, sigma_min=1e-7, solver=solver, save={"dense": 2})
    start = samples.trajectory.states(0) / high
    end = (samples.flat - prior.examples.x) / float(prior.spread)
    error = 0.3 / high ** (2 - c["exponent"]) if isinstance(c, dict) and "exponent" in c else 0
    torch.testing.assert_close(end, start, rtol=1e-4 + 2 * error, atol=3 / high)


def test_spread_by_direction():
    """Ends of the flow about their examples have the covariance c Sigma^-1."""
    x = 10 * talk_points(4) @ torch.tensor([[1.0, 0.7], [0.0, 0.4]]).double()
    prior = Tikhonov(base=ATOMS, c=0.1, directions="covariance").fit(x)
    n = 1000
    end = run(prior, n, "examples", sigma_max=100.0, sigma_min=1e-3, solver=COARSE).flat
    away = end - x[torch.cdist(end, x).argmin(1)]
    law = 0.1 * torch.linalg.inv(torch.cov(x.T))
    torch.testing.assert_close(prior.base.denoise(x, NoiseLevel(1.0, 1e-3)), x)
    whitened = away @ torch.linalg.inv(torch.linalg.cholesky(law)).T
    found = whitened.T @ whitened / n
    assert float((found - torch.eye(2)).abs().max()) < 3.5 * math.sqrt(2 / n)


@pytest.mark.parametrize(("d", "p"), [(2, 0.1), (20, 0.9)])
def test_tikhonov_ends_on_examples_as_often_as_its_law_says(d, p):
    tikhonov_law(d, p, n=1500)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 5, 20])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_tikhonov_law_in_all_settings(d, p):
    tikhonov_law(d, p)


def tikhonov_law(d, p, start="examples", sigma_max=TALK, n=4000, missed=False):
    c = 1e-4 / chi2.ppf(p, d)
    prior = Tikhonov(base=ATOMS, c=c).fit(talk_points(20, d))
    assert prior.limit_law(1e-2) == pytest.approx(p, abs=1e-9)
    end = run(prior, n, start, sigma_max, 1e-5, COARSE).flat
    off = standard_errors(on_example(prior, end, 1e-2), n, p)
    assert (abs(off) > 3) == missed, off


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_pure_noise_is_another_start(p):
    """At d = 20 and sigma = 4.64 the data still show in z, and the law is missed; not at 20."""
    tikhonov_law(20, p, "noise", TALK, n=16000, missed=True)
    tikhonov_law(20, p, "noise", 20.0)


@pytest.mark.parametrize(("d", "tau"), [(5, 0.1)])
def test_empirical_bayes_ends_on_examples_as_often_as_its_law_says(d, tau):
    empirical_bayes_law(d, tau, n=1000)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("tau", [0.03, 0.1, 0.3, 0.7])
def test_empirical_bayes_law_in_all_settings(d, tau):
    empirical_bayes_law(d, tau)


def empirical_bayes_law(d, tau, n=4000):
    prior = EmpiricalBayes(base=ATOMS, tau=tau).fit(talk_points(20, d))
    law = prior.limit_law(1e-4)
    assert law == pytest.approx(chi2.cdf(2 * math.log(1 / tau), d))
    end = run(prior, n, "examples", 20.0, 1e-6, COARSE).flat
    assert abs(standard_errors(on_example(prior, end, 1e-4), n, law)) < 3


def test_smoothed_flows_end_on_barycentres():
    """Ends are (k_1 x_1 + ... + k_N x_N)/M with the counts of their own perturbed states."""
    x = talk_points()
    prior = Smoothed(base=ATOMS, width=0.4, perturbations=8).fit(x)
    end = run(prior, 64, sigma_min=1e-9, solver=COARSE).flat
    nearest = torch.cdist((end + prior.shifts[:, None]).flatten(0, 1), x).argmin(1)
    barycentre = x[nearest].unflatten(0, (8, -1)).mean(0)
    settled = (end - barycentre).norm(dim=-1) < 1e-6
    assert float(settled.double().mean()) > 0.7  # the others end on a jump
    on_data = torch.cdist(end, x).min(1).values < 1e-6
    assert float(on_data.double().mean()) < 0.2
    sharp = Smoothed(base=ATOMS, width=1e-3, perturbations=8).fit(x)
    assert on_example(sharp, run(sharp, 32, sigma_min=1e-9, solver=COARSE).flat, 1e-6) == 32


def test_draws_are_ends_of_the_flow():
    x = talk_points()
    prior = Tikhonov(base=ATOMS, c=1e-6).fit(x)
    near = torch.cdist(prior.sample(2000, Streams(0, "sampling")), x).min(1).values
    law = 1e-3 * math.sqrt(math.pi / 2)  # mean of a Rayleigh distance
    assert abs(float(near.mean()) - law) < 3 * 1e-3 * math.sqrt((2 - math.pi / 2) / 2000)
    fading = EmpiricalBayes(base=ATOMS, tau=0.3).fit(x)
    found = on_example(fading, fading.sample(64, Streams(0, "sampling")), 1e-4)
    assert abs(standard_errors(found, 64, 0.7)) < 3
    assert fading.draw_calls == 81 and prior.draw_calls == 0


def test_laws_are_told_where_they_are_known():
    x = talk_points()
    known = [Tikhonov(base=ATOMS, c=0.1), EmpiricalBayes(base=ATOMS)]
    unknown = [
        Tikhonov(base=KERNELS, c=0.1),
        Tikhonov(base=ATOMS, c=0.1, directions="covariance"),
        EmpiricalBayes(base=KERNELS),
        Smoothed(base=ATOMS),
    ]
    assert all(ask(recipe.fit(x), HasLimitLaw) is not None for recipe in known)
    assert all(ask(recipe.fit(x), HasLimitLaw) is None for recipe in unknown)
    atoms = known[0].fit(x).base
    assert atoms.limit_law(1e-9) == 1.0


def test_what_cannot_be_is_refused():
    flat = torch.from_numpy(np.outer([1.0, 2.0, -1.0], [1.0, 0.5]))
    with pytest.raises(PluginError, match="the data vary in 1 of 2 directions"):
        Tikhonov(base=ATOMS, directions="covariance").fit(flat)
    with pytest.raises(PluginError, match="directions: covariance needs training data"):
        Tikhonov(base=GAUSSIAN, directions="covariance").fit()
    inner = {"type": "tikhonov", "base": ATOMS}
    with pytest.raises(PluginError, match="empirical_bayes needs a log density at every noise"):
        EmpiricalBayes(base=inner).fit(talk_points())
    with pytest.raises(PluginError, match="start: examples needs training examples"):
        run(Tikhonov(base=GAUSSIAN).fit(), 32, "examples")
