"""Components linearised at their modes: the search, the weights, and where it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fwi_exact_problems import CALLS, cubic, shelf, small_fwi
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.memory import memory
from mempost.core.operator import ForwardOperator
from mempost.core.problem import InverseProblem
from mempost.methods.posteriors import map_points
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.quadrature import Quadrature

AT_MODES = ExactLGM(relinearise="map", tolerance=1e-12)


@pytest.mark.parametrize(("d", "m"), [(3, 7), (7, 3), (4, 4)])
def test_without_curvature_nothing_changes(d: int, m: int) -> None:
    problem = cubic(d, m, bend=0.0)
    plain, found = ExactLGM().posterior(problem), AT_MODES.posterior(problem)
    assert found.converged.all()
    torch.testing.assert_close(found.log_weights, plain.log_weights, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.component_means, plain.component_means, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.points, plain.component_means, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.covariance(), plain.covariance(), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(
        found.component_log_evidences, plain.component_log_evidences, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("problem", [cubic(3, 7), cubic(7, 3), small_fwi(0.3)])
def test_points_are_modes_and_weights_are_laplace(problem: InverseProblem) -> None:
    posterior, h = AT_MODES.posterior(problem), problem.prior.bandwidth  # type: ignore[attr-defined]
    assert posterior.converged.all()
    x, means = posterior.points, problem.prior.means  # type: ignore[attr-defined]
    _, gradient = problem.log_likelihood_gradient(x)
    scale = gradient.abs().amax(1, True)
    assert ((gradient - (x - means) / h**2).abs() < 1e-4 * scale).all()
    # log w = log pi + log p(y | x) + log N(x; x_n, C) + log det(2 pi H^-1) / 2 at the mode
    _, a = problem.linearise(x)
    hessian = a.mT @ a + torch.eye(problem.dimension, dtype=torch.float64) / h**2
    log_prior = -0.5 * (x - means).square().sum(-1) / h**2 - problem.dimension * np.log(h)
    evidence = problem.log_likelihood(x) + log_prior - 0.5 * torch.logdet(hessian)
    torch.testing.assert_close(posterior.component_log_evidences, evidence, rtol=1e-9, atol=1e-7)
    torch.testing.assert_close(
        posterior.log_weights, torch.log_softmax(evidence, 0), rtol=1e-9, atol=1e-7
    )


def total_variation(problem: InverseProblem, sampler: ExactLGM) -> float:
    exact = Quadrature().posterior(problem)
    x = torch.linspace(-4, 4, 4001, dtype=torch.float64)[:, None]
    p, q = exact.log_density(x).exp(), sampler.posterior(problem).log_density(x).exp()
    return float((p - q).abs().sum() * 0.002 / 2)


def test_modes_help_where_data_are_far_from_the_mean() -> None:
    """F = x + 0.3 x^3: the tangent at an example is poor where the posterior is."""
    prior = EmpiricalGMM(bandwidth=0.5).fit(torch.tensor([[0.2], [2.4]], dtype=torch.float64))
    y = torch.tensor([2.8], dtype=torch.float64)
    operator = Polynomial(coefficients=[0, 1, 0, 0.3])
    problem = InverseProblem(prior, operator, GaussianNoise(0.3), y)
    plain, found = (total_variation(problem, s) for s in (ExactLGM(), AT_MODES))
    assert plain > 0.2
    assert found < 0.03


class Arctan(ForwardOperator):
    """F(x) = arctan(x): full Gauss-Newton steps from |x| > 1.4 run away."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.arctan(x)


class OnlyPositive(ForwardOperator):
    """F(x) = log x, which refuses x <= 0."""

    def forward(self, x: Tensor) -> Tensor:
        if (x <= 0).any():
            raise PluginError("not positive")
        return torch.log(x)


@pytest.mark.parametrize(
    ("operator", "start", "mode"), [(Arctan(), 8.0, 0.0), (OnlyPositive(), 20.0, 1.0)]
)
def test_steps_are_shortened(operator: ForwardOperator, start: float, mode: float) -> None:
    points = torch.tensor([[start], [mode]], dtype=torch.float64)
    prior = EmpiricalGMM(bandwidth=1e4).fit(points)
    y = torch.zeros(1, dtype=torch.float64)
    posterior = AT_MODES.posterior(InverseProblem(prior, operator, GaussianNoise(0.1), y))
    assert posterior.converged.all()
    torch.testing.assert_close(
        posterior.points, torch.full((2, 1), mode).double(), rtol=0, atol=1e-6
    )


def test_a_search_that_does_not_end_is_told() -> None:
    problem = cubic(3, 7)
    posterior = ExactLGM(relinearise="map", iterations=1).posterior(problem)
    plain = ExactLGM().posterior(problem)
    assert not posterior.converged.any()
    torch.testing.assert_close(posterior.log_weights, plain.log_weights, rtol=1e-10, atol=1e-10)


def test_atoms_stay_where_they_are() -> None:
    data = cubic(3, 7).prior.means  # type: ignore[attr-defined]
    problem = cubic(3, 7)
    atoms = InverseProblem(
        EmpiricalGMM(bandwidth=0.0).fit(data), problem.operator, problem.noise, problem.y
    )
    plain, found = ExactLGM().posterior(atoms), AT_MODES.posterior(atoms)
    assert torch.equal(found.points, data)
    torch.testing.assert_close(found.log_weights, plain.log_weights, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("d", "m"), [(4, 9), (9, 4)])
def test_searches_are_kept_and_resumed(d: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_points, "BLOCK", 2 * d * m)
    problem = cubic(d, m, n=7)
    expected = AT_MODES.posterior(problem)
    sampler = AT_MODES.model_copy(update={"slices": 2})
    with shelf() as kept:
        sampler.prepare(problem, 1)
        assert len(kept.saved) == 2
        for part in range(sampler.preparations):
            memory().forget()
            sampler.prepare(problem, part)
        assert len(kept.saved) == 4
        memory().forget()
        CALLS.clear()
        posterior = sampler.posterior(problem)
        assert CALLS == []
        for name in ("log_weights", "component_means", "points", "converged"):
            torch.testing.assert_close(getattr(posterior, name), getattr(expected, name))
        sampler.posterior(problem.with_data(problem.y + 0.1))
        assert len(CALLS) > 0
