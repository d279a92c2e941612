"""Quadrature and the finite-sample posterior against SciPy, closed forms and distribution tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import integrate, stats
from torch import Tensor

from mempost.core.capabilities import HasDensity, HasWeights, ask
from mempost.core.errors import NonFiniteError, PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import ForwardOperator
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.mixtures.kernel_mixture import KernelMixture
from mempost.methods.posteriors.grid_posterior import GridPosterior
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights
from mempost.plugins.samplers.quadrature import Quadrature


def _tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def cubic(y: float = 0.4, noise: float = 0.3, bandwidth: float = 0.2) -> InverseProblem:
    prior = EmpiricalGMM(bandwidth=bandwidth).fit(_tensor(-1.5, -0.4, 0.4, 1.2)[:, None])
    operator = Polynomial(coefficients=[0, 1, 0, 0.3])
    return InverseProblem(prior, operator, GaussianNoise(noise), _tensor(y))


def plane() -> InverseProblem:
    covariances = [[[0.3, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.4]]]
    prior = GaussianMixture(means=[[1.0, 0.0], [-0.5, 1.0]], covariances=covariances).fit()
    return InverseProblem(prior, Quadratic2D(), GaussianNoise(0.6), _tensor(0.6, 0.5))


def test_one_dimension_against_scipy() -> None:
    problem = cubic()
    posterior = Quadrature().posterior(problem)

    def integral(f: object) -> float:
        def integrand(x: float) -> float:
            log_p = float(problem.log_density(_tensor(x)[None])[0])
            return f(x) * math.exp(log_p)  # type: ignore[operator]

        return integrate.quad(integrand, -4, 4, epsabs=1e-13, limit=200, points=[-0.4, 0.4])[0]

    evidence = integral(lambda x: 1.0)
    mean = integral(lambda x: x) / evidence
    variance = integral(lambda x: (x - mean) ** 2) / evidence
    assert float(posterior.log_evidence) == pytest.approx(math.log(evidence), abs=1e-10)
    assert float(posterior.mean()) == pytest.approx(mean, abs=1e-10)
    assert float(posterior.covariance()) == pytest.approx(variance, abs=1e-10)
    assert float(posterior.std()) == pytest.approx(math.sqrt(variance), abs=1e-10)
    sine = float(posterior.expectation(torch.sin))
    assert sine == pytest.approx(integral(math.sin) / evidence, abs=1e-10)
    x = _tensor(0.123)[None]
    expected = problem.log_density(x) - math.log(evidence)
    torch.testing.assert_close(posterior.log_density(x), expected, rtol=0, atol=1e-10)
    assert ask(posterior, HasWeights) is None


def test_two_dimensions_against_scipy() -> None:
    problem = plane()
    posterior = Quadrature().posterior(problem)
    x, w = np.polynomial.legendre.leggauss(300)
    nodes = torch.cartesian_prod(torch.tensor(5 * x), torch.tensor(5 * x))
    weights = torch.tensor(25 * np.outer(w, w).ravel()) * problem.log_density(nodes).exp()
    evidence = weights.sum()
    mean = weights @ nodes / evidence
    covariance = (weights[:, None] * (nodes - mean)).T @ (nodes - mean) / evidence
    torch.testing.assert_close(posterior.log_evidence, evidence.log(), rtol=0, atol=1e-9)
    torch.testing.assert_close(posterior.mean(), mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(posterior.covariance(), covariance, rtol=0, atol=1e-9)
    masses = posterior.expectation(problem.prior.responsibilities)  # type: ignore[attr-defined]
    expected = weights @ problem.prior.responsibilities(nodes) / evidence  # type: ignore[attr-defined]
    torch.testing.assert_close(masses, expected, rtol=0, atol=1e-9)
    assert posterior.nodes.shape == (posterior.node_weights.numel(), 2)
    torch.testing.assert_close(posterior.node_weights @ posterior.nodes, mean, rtol=0, atol=1e-9)


@pytest.mark.parametrize("y", [30.0, -200.0])
@pytest.mark.parametrize("noise", [3.0, 1e-3])
def test_the_box_grows_to_the_posterior(y: float, noise: float) -> None:
    """Data that put the posterior tens of standard deviations outside the prior."""
    prior = Gaussian(mean=[0.0], covariance=1.0).fit()
    problem = InverseProblem(prior, Linear(matrix=[[1.0]]), GaussianNoise(noise), _tensor(y))
    posterior = Quadrature().posterior(problem)
    shrink = 1 / (1 + noise**2)
    assert float(posterior.mean()) == pytest.approx(y * shrink, rel=1e-10)
    assert float(posterior.std()) == pytest.approx(noise * math.sqrt(shrink), rel=1e-7)
    log_evidence = stats.norm(0, math.sqrt(1 + noise**2)).logpdf(y)
    assert float(posterior.log_evidence) == pytest.approx(log_evidence, rel=1e-10)


def test_bounds_restrict_the_posterior() -> None:
    prior = Gaussian(mean=[0.0], covariance=1.0).fit()
    problem = InverseProblem(prior, Linear(matrix=[[1.0]]), GaussianNoise(1.0), _tensor(0.0))
    posterior = Quadrature(bounds=[[0.5, 6.0]]).posterior(problem)
    sd = math.sqrt(0.5)
    expected = stats.truncnorm(0.5 / sd, 6 / sd, scale=sd)
    assert float(posterior.mean()) == pytest.approx(expected.mean(), abs=1e-7)
    assert float(posterior.std()) == pytest.approx(expected.std(), abs=1e-7)
    log_density = posterior.log_density(_tensor(0.4, 0.6)[:, None])
    assert log_density[0] == -torch.inf
    assert float(log_density[1]) == pytest.approx(expected.logpdf(0.6), abs=1e-7)
    draws = posterior.sample(5000, Streams(0, "sampling"))[:, 0].numpy()
    assert stats.kstest(draws, expected.cdf).pvalue > 1e-3


def test_draws_in_one_dimension() -> None:
    posterior = Quadrature().posterior(cubic())
    draws = posterior.sample(10_000, Streams(4, "sampling"))[:, 0].numpy()
    nodes, cdf = posterior.nodes[:, 0].numpy(), posterior.node_weights.cumsum(0).numpy()
    middle = nodes + 0.5 * float(posterior.spacing)
    assert stats.kstest(draws, lambda x: np.interp(x, middle, cdf)).pvalue > 1e-3
    again = posterior.sample(50, Streams(4, "sampling"))[:, 0].numpy()
    assert (again == draws[:50]).all()


@pytest.mark.parametrize("d", [1, 2])
def test_draws_carry_no_bias_of_the_grid(d: int) -> None:
    """On nodes one standard deviation apart the interpolant alone has a variance of 7/6."""
    prior = Gaussian(mean=[0.3] * d, covariance=2.0).fit()
    y = torch.full((d,), 0.3, dtype=torch.float64)
    problem = InverseProblem(prior, Linear(matrix=torch.eye(d)), GaussianNoise(2**0.5), y)
    box = torch.full((d,), 8.0, dtype=torch.float64)
    posterior = GridPosterior.evaluate(problem, -box, box, (16,) * d)
    assert float(posterior.std()[0]) == pytest.approx(1, abs=1e-6)
    draws = posterior.sample(10_000, Streams(2, "sampling")).numpy()
    for column in draws.T:
        assert stats.kstest(column, stats.norm(0.3, 1).cdf).pvalue > 1e-3
        assert abs(column.var() - 1) < 4 * math.sqrt(2 / len(draws))


def test_draws_in_two_dimensions() -> None:
    posterior = Quadrature().posterior(plane())
    n = 10_000
    draws = posterior.sample(n, Streams(1, "sampling"))
    mean, covariance = posterior.mean(), posterior.covariance()
    assert ((draws.mean(0) - mean).abs() < 4 * (covariance.diagonal() / n).sqrt()).all()
    products = torch.einsum("bi,bj->bij", draws - mean, draws - mean)
    assert ((products.mean(0) - covariance).abs() < 4 * products.std(0) / math.sqrt(n)).all()

    def features(x: Tensor) -> Tensor:
        return torch.stack([torch.sin(2 * x[:, 0]), torch.cos(x[:, 0] * x[:, 1]), x[:, 1] ** 3], -1)

    error = (features(draws).mean(0) - posterior.expectation(features)).abs()
    assert (error < 4 * features(draws).std(0) / math.sqrt(n)).all()


def test_single_precision() -> None:
    high = Quadrature().posterior(cubic())
    problem = cubic()
    single = InverseProblem(
        problem.prior.to(dtype=torch.float32), problem.operator, problem.noise, problem.y.float()
    )
    low = Quadrature().posterior(single)
    assert low.mean().dtype == low.sample(3, Streams(0, "sampling")).dtype == torch.float32
    torch.testing.assert_close(low.mean().double(), high.mean(), rtol=0, atol=1e-4)
    torch.testing.assert_close(low.std().double(), high.std(), rtol=0, atol=1e-4)


# -- refusals -----------------------------------------------------------------------------------


def _observed(prior: FittedPrior) -> InverseProblem:
    d = prior.dimension
    y = torch.zeros(d, dtype=torch.float64)
    return InverseProblem(prior, Linear(matrix=torch.eye(d)), GaussianNoise(1.0), y)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (Gaussian(mean=[0.0] * 3, covariance=1.0).fit(), "found 3; use exact_lgm"),
        (KernelMixture(_tensor(0, 1)[:, None], 0.0), "use finite_sample_weights"),
        (KernelMixture(_tensor(0, 1)[:, None], 1e-9), "Raise max_nodes"),
        (KernelMixture(_tensor(0, 1)[:, None].expand(2, 2), 1e-5), "finite_sample_weights"),
    ],
    ids=["3-D", "atoms", "narrow", "narrow 2-D"],
)
def test_refused_problems(prior: FittedPrior, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Quadrature().posterior(_observed(prior))


def test_refused_bounds() -> None:
    for bounds in ([[1.0, 0.0]], [[0.0, 1.0, 2.0]]):
        with pytest.raises(ValidationError, match="lower < upper"):
            Quadrature(bounds=bounds)
    with pytest.raises(PluginError, match="bounds of 2 coordinates, found 1"):
        Quadrature(bounds=[[0, 1], [0, 1]]).posterior(cubic())


class Root(ForwardOperator):
    """F(x) = sqrt(x), NaN for x < 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(x)


def test_a_nan_is_an_error() -> None:
    problem = cubic()
    with pytest.raises(NonFiniteError, match="log posterior"):
        Quadrature().posterior(InverseProblem(problem.prior, Root(), problem.noise, problem.y))


# -- the finite-sample posterior ----------------------------------------------------------------


@pytest.fixture
def atoms() -> InverseProblem:
    weights = _tensor(0.1, 0.2, 0.3, 0.4)
    prior = KernelMixture(_tensor(-1.5, -0.4, 0.4, 1.2)[:, None], 0.0, weights)
    return InverseProblem(
        prior, Polynomial(coefficients=[0, 1, 0, 0.3]), GaussianNoise(1.5), _tensor(0.4)
    )


def test_finite_sample_posterior(atoms: InverseProblem) -> None:
    posterior = FiniteSampleWeights().posterior(atoms)
    x = np.array([-1.5, -0.4, 0.4, 1.2])
    terms = np.array([0.1, 0.2, 0.3, 0.4]) * stats.norm(x + 0.3 * x**3, 1.5).pdf(0.4)
    w = terms / terms.sum()
    np.testing.assert_allclose(posterior.weights, w, rtol=1e-13)
    assert float(posterior.log_evidence) == pytest.approx(math.log(terms.sum()), rel=1e-13)
    assert float(posterior.mean()) == pytest.approx(w @ x, rel=1e-13)
    variance = w @ x**2 - (w @ x) ** 2
    assert float(posterior.covariance()) == pytest.approx(variance, rel=1e-12)
    assert float(posterior.std()) == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert float(posterior.expectation(torch.cos)) == pytest.approx(w @ np.cos(x), rel=1e-13)
    assert ask(posterior, HasDensity) is None
    n = 10_000
    draws = FiniteSampleWeights().sample(atoms, n, Streams(0, "sampling")).flat[:, 0].numpy()
    counts = (draws[:, None] == x).sum(0)
    assert counts.sum() == n
    assert stats.chisquare(counts, n * w).pvalue > 1e-3


def test_quadrature_tends_to_the_finite_sample_posterior() -> None:
    """Masses at bandwidth h differ from the limit by O(h^2)."""
    limit = FiniteSampleWeights().posterior(cubic(noise=1.5)).weights
    errors = []
    for h in (0.04, 0.02, 0.01):
        problem = cubic(noise=1.5, bandwidth=h)
        posterior = Quadrature().posterior(problem)
        masses = posterior.expectation(problem.prior.responsibilities)  # type: ignore[attr-defined]
        errors.append(float((masses - limit).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)
    assert errors[2] < 1e-3
