"""DPS as published: algorithm 1 of Chung et al. (2023), written out in NumPy, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sampler_problems import gaussian_problem, run, wide_start

from mempost.core.counters import counting
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.guidance.published import Published
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.gaussian_mixture import GaussianMixture
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.schedules.vp_discrete import DiscreteVariancePreserving

T = 25
BETA = np.linspace(1e-4, 0.02, T)
ALPHA = 1 - BETA
ABAR = np.cumprod(ALPHA)
WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-1.0, 0.5], [1.2, 0.1]])
VARIANCES = np.array([[0.3, 0.2], [0.1, 0.4]])
Y = np.array([0.6, 0.9])


def network(x, i):
    """E[x_0 | x_i] under a mixture of two Gaussians with diagonal covariances."""
    a, v = np.sqrt(ABAR[i]), ABAR[i] * VARIANCES + 1 - ABAR[i]
    d = x[:, None] - a * MEANS
    log_w = np.log(WEIGHTS) - 0.5 * (d**2 / v + np.log(v)).sum(-1)
    w = np.exp(log_w - log_w.real.max(1, keepdims=True))
    w = (w / w.sum(1, keepdims=True))[..., None]
    return (w * (MEANS + a * VARIANCES / v * d)).sum(1)


def forward(x):
    """The nonlinear map of Figure 1."""
    return np.stack([x[:, 0] + 0.3 * x[:, 0] * x[:, 1], x[:, 1] + 0.2 * x[:, 0] ** 2], -1)


def misfit(x, i):
    return ((Y - forward(network(x, i))) ** 2).sum(-1)


def gradient(f, x, h=1e-30):
    """By complex steps, f(x + i h e) = f(x) + i h f'(x) e + O(h^2): exact to rounding."""
    return np.stack([f(x + 1j * h * e).imag / h for e in np.eye(x.shape[1])], -1)


def algorithm_1(x, noises, zeta):
    """Lines 2 to 8; noises z of lines 5, from i = N - 1 down to 0, and none in the last step."""
    for i in reversed(range(T)):
        x0 = network(x, i)
        before = ABAR[i - 1] if i else 1.0
        beta_tilde = (1 - before) / (1 - ABAR[i]) * BETA[i]
        z = noises[T - 1 - i] if i else 0.0
        ancestral = (
            np.sqrt(ALPHA[i]) * (1 - before) / (1 - ABAR[i]) * x
            + np.sqrt(before) * BETA[i] / (1 - ABAR[i]) * x0
            + np.sqrt(beta_tilde) * z
        )
        zeta_i = zeta / np.linalg.norm(Y - forward(x0), axis=-1, keepdims=True)
        x = ancestral - zeta_i * gradient(lambda u, i=i: misfit(u, i), x)
    return x


def mixture_problem():
    covariances = [np.diag(v).tolist() for v in VARIANCES]
    prior = GaussianMixture(weights=WEIGHTS, means=MEANS, covariances=covariances).fit()
    return InverseProblem(prior, Quadratic2D(), GaussianNoise(0.3), torch.tensor(Y))


@pytest.mark.parametrize("zeta", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("of", ["squared", "norm"])
def test_algorithm_1_step_by_step(zeta, of):
    """With ``norm``, the step of the authors' code, zeta counts half."""
    streams = Streams(3, "sampling")
    sampler = DPS(
        rule={"type": "published", "zeta": zeta, "gradient": of},
        schedule=DiscreteVariancePreserving(steps=T),
        steps=T,
        t_min=1 / T,
        start="standard_normal",
    )
    start = sampler.init(mixture_problem(), streams.at(0))["z"].numpy()
    noises = [streams.at(0, k).normal((32, 2)).numpy() for k in range(1, T + 1)]
    expected = algorithm_1(start, noises, zeta if of == "squared" else zeta / 2)
    found = sampler.sample(mixture_problem(), 32, streams).flat.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert np.ptp(found, axis=0).min() > 0.1


def test_a_step_takes_one_denoiser_call_and_does_not_know_the_noise():
    sampler, problem = DPS(rule=Published(zeta=0.2), steps=9), gaussian_problem()
    with counting() as counts:
        low = sampler.sample(problem, 32, Streams(1, "sampling")).flat
    assert counts["denoiser_calls"] == 32 * sampler.nfe(problem.prior) == 32 * 9
    high = sampler.sample(gaussian_problem(std=3.0), 32, Streams(1, "sampling")).flat
    assert torch.equal(low, high) and "uses_noise_level" not in sampler.tags


def test_data_that_are_met_exactly_move_nothing():
    problem = InverseProblem(
        gaussian_problem().prior,
        Linear(matrix=[[0.0, 0.0, 0.0]]),
        GaussianNoise(1.0),
        torch.zeros(1, dtype=torch.float64),
    )
    rule, plain = DPS(rule=Published(), steps=20), DPS(rule=Published(zeta=1e-9), steps=20)
    streams = Streams(0, "sampling")
    assert torch.equal(*(s.sample(problem, 8, streams).flat for s in (rule, plain)))


def test_zeta_widens_the_published_draws_and_narrows_those_of_residual_norm():
    """Opposite signs, on y = x: zeta stands for the noise here, for the sharpness there."""
    prior = GaussianMixture(weights=[1.0], means=[[0.0, 0.0]], covariances=[1.0]).fit()
    problem = InverseProblem(
        prior, Linear(matrix=np.eye(2)), GaussianNoise(0.5), torch.tensor([0.9, 0.2]).double()
    )
    spread = {}
    for name in ("published", "residual_norm"):
        for zeta in (0.1, 0.3, 1.0):
            sampler = DPS(rule={"type": name, "zeta": zeta}, steps=100)
            x = run(sampler, problem, wide_start(sampler, problem, 1000))["z"]
            spread[name, zeta] = float(x.std(0).mean())
    for small, large in ((0.1, 0.3), (0.3, 1.0)):
        assert spread["published", large] > 2 * spread["published", small]
        assert spread["residual_norm", large] < spread["residual_norm", small] / 1.5
