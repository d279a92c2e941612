"""R-hat and effective sample sizes, against ArviZ and against autoregressive chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from metric_results import problem_of, results_of

from mempost.core.sampler import Samples
from mempost.methods.statistics import diagnostics
from mempost.plugins.metrics.mcmc import MCMCDiagnostics


def autoregressive(rho: float, shape: tuple[int, int], seed: int) -> np.ndarray:
    """x_t = rho x_{t-1} + sqrt(1 - rho^2) e_t: unit variance, autocorrelation rho^t."""
    e = np.random.RandomState(seed).standard_normal(shape)
    x = e.copy()
    for t in range(1, shape[1]):
        x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * e[:, t]
    return x


def chains(kind: str) -> torch.Tensor:
    x = autoregressive({"slow": 0.9, "negative": -0.6}.get(kind, 0.5), (4, 201), seed=7)
    if kind == "shifted":
        x[0] += 1.5
    if kind == "scaled":
        x[0] *= 4
    if kind == "heavy":
        x = np.tan(np.pi * (0.5 * (1 + np.tanh(x)) - 0.5) * 0.98)
    if kind == "ties":
        x = np.round(x)
    return torch.from_numpy(x)


# R-hat, bulk ESS, tail ESS, plain R-hat and plain ESS of ArviZ 0.21.0 on the same chains
ARVIZ = {
    "slow": (1.037144698, 56.04167399, 68.74522950, 1.006578871, 58.01421718),
    "negative": (0.9983569029, 2322.471990, 719.5734652, 0.9975455443, 2335.825863),
    "shifted": (1.239596580, 13.32938786, 45.61151637, 1.291819108, 5.531515318),
    "scaled": (1.214671119, 319.6797537, 35.91881597, 0.9978343885, 315.8984951),
    "heavy": (1.001528234, 308.1845913, 592.4294488, 0.9977048119, 357.6375680),
    "ties": (1.001436152, 315.5955582, 561.7427011, 0.9992528212, 309.8327108),
}


@pytest.mark.parametrize("kind", ARVIZ)
def test_equal_to_arviz(kind: str) -> None:
    x = chains(kind)
    found = (
        diagnostics.r_hat(x),
        diagnostics.ess_bulk(x),
        diagnostics.ess_tail(x),
        diagnostics.plain_r_hat(x),
        diagnostics.plain_ess(x),
    )
    assert found == pytest.approx(ARVIZ[kind], rel=1e-8)


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.5, 0.9])
def test_ess_of_autoregressive_chains(rho: float) -> None:
    x = torch.from_numpy(autoregressive(rho, (8, 20_000), seed=3))
    expected = x.numel() * (1 - rho) / (1 + rho)
    assert diagnostics.ess_bulk(x) == pytest.approx(expected, rel=0.1)
    lags = torch.arange(6, dtype=torch.float64)
    found = diagnostics.autocorrelation(x)[:6]
    # Bartlett: the variance of rho_t is below (1 + 2 sum rho^2k) / size
    error = math.sqrt((1 + 2 * rho**2 / (1 - rho**2)) / x.numel())
    torch.testing.assert_close(found, rho**lags, rtol=0, atol=5 * error)


def test_autocovariance_by_its_definition() -> None:
    x = torch.from_numpy(autoregressive(0.5, (2, 31), seed=1))
    c = x - x.mean(1, keepdim=True)
    expected = torch.stack([(c[:, : 31 - t] * c[:, t:]).sum(1) / 31 for t in range(31)], 1)
    torch.testing.assert_close(diagnostics.autocovariance(x), expected, rtol=0, atol=1e-13)


def test_r_hat_sees_what_a_plain_one_does_not() -> None:
    scaled = chains("scaled")
    assert diagnostics.plain_r_hat(scaled) < 1.01 < 1.1 < diagnostics.r_hat(scaled)
    drift = torch.linspace(0, 1, 100, dtype=torch.float64).expand(4, 100)
    assert diagnostics.plain_r_hat(drift) < 1 < 1.5 < diagnostics.r_hat(drift)


def test_stuck_chains() -> None:
    apart = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, 50)
    assert diagnostics.r_hat(apart) == math.inf
    assert diagnostics.ess_bulk(apart) < 5
    together = torch.ones(2, 50, dtype=torch.float64)
    assert math.isnan(diagnostics.r_hat(together))
    assert math.isnan(diagnostics.ess_bulk(together))
    assert math.isnan(diagnostics.ess_tail(together))


def test_metric_reports_the_worst_coordinate() -> None:
    good, bad = chains("negative"), chains("shifted")
    constant = torch.zeros_like(good)
    values = torch.stack([good, bad, constant], -1)
    stats = {"acceptance": torch.tensor([[True, False], [True, True]])}
    result = results_of(problem_of([[0.0, 0, 0]]), {"chain": Samples(values, stats)})["chain"]
    columns = MCMCDiagnostics().evaluate(result).columns
    assert columns["r_hat"] == pytest.approx(ARVIZ["shifted"][0], rel=1e-8)
    assert columns["ess_bulk"] == pytest.approx(ARVIZ["shifted"][1], rel=1e-8)
    assert columns["ess_tail"] == pytest.approx(ARVIZ["shifted"][2], rel=1e-8)
    assert columns["acceptance"] == 0.75


def test_metric_says_nothing_of_independent_draws() -> None:
    problem = problem_of([[0.0]])
    draws = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    assert MCMCDiagnostics().evaluate(results_of(problem, {"a": draws})["a"]).columns == {}
    short = Samples(draws.reshape(50, 2, 1))
    assert MCMCDiagnostics().evaluate(results_of(problem, {"a": short})["a"]).columns == {}
