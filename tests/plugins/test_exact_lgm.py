"""The linearised mixture against dense formulas, quadrature, limits and high precision."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mempost.core.capabilities import HasDensity, ask
from mempost.core.errors import NonFiniteError, PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.mixture import MixturePrior
from mempost.core.operator import ForwardOperator
from mempost.core.prior import FittedPrior, State
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.mixtures.full_mixture import FullMixture
from mempost.methods.mixtures.kernel_mixture import KernelMixture
from mempost.methods.posteriors import linearised_mixture
from mempost.methods.posteriors.linearised_mixture import LinearisedMixture
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.piecewise_linear import PiecewiseLinear
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights
from mempost.plugins.samplers.quadrature import Quadrature


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class CubicFeatures(ForwardOperator):
    """F(x) = B (x + x^3 / 10) for a fixed matrix B: another Jacobian everywhere."""

    m: int

    def range_shape(self, domain_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.m,)

    def forward(self, x: Tensor) -> Tensor:
        return (x + 0.1 * x**3) @ self._features(x).T

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        columns = self._features(x) * (1 + 0.3 * x[:, None] ** 2)
        return self(x), columns if basis is None else columns @ basis

    def _features(self, x: Tensor) -> Tensor:
        return _random(self.m, x.shape[1], seed=77).to(x.dtype)


def _covariances(k: int, d: int, seed: int = 5) -> Tensor:
    root = _random(k, d, d, seed=seed)
    return root @ root.mT / d + 0.1 * torch.eye(d, dtype=torch.float64)


def _problem(kind: str, nonlinear: bool, d: int, m: int, n: int = 4) -> InverseProblem:
    data = _random(n, d, seed=1)
    prior: MixturePrior
    if kind == "kernel":
        prior = EmpiricalGMM(bandwidth=0.4).fit(data)
    else:
        weights = torch.softmax(_random(n, seed=3), 0)
        prior = FullMixture.from_covariances(weights, data, _covariances(n, d))
    operator = CubicFeatures(m=m) if nonlinear else Linear(matrix=_random(m, d, seed=2))
    y = operator(data[:1] + 0.3)[0] + 0.2 * _random(m, seed=4)
    return InverseProblem(prior, operator, GaussianNoise(0.5), y)


CASES = [
    pytest.param(kind, nonlinear, d, m, id=f"{kind}-{'cubic' if nonlinear else 'linear'}-{d}-{m}")
    for kind in ("kernel", "full")
    for nonlinear in (False, True)
    for d, m in ((2, 5), (5, 2), (3, 3))
]
every_case = pytest.mark.parametrize(("kind", "nonlinear", "d", "m"), CASES)


def _dense(problem: InverseProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Weights, means, covariances and log evidence by the textbook formulas, in data space."""
    prior, gamma = problem.prior, problem.noise.component_std
    assert isinstance(prior, MixturePrior)
    k, d = prior.means.shape
    factors = prior.factor_product(torch.arange(k), torch.eye(d).double().expand(k, d, d)).numpy()
    y, jacobians = problem.operator.jacobian(prior.means)
    log_terms, means, covariances = [], [], []
    for w, x, factor, f, j in zip(
        prior.weights.numpy(), prior.means.numpy(), factors, y.numpy(), jacobians.numpy()
    ):
        c = factor @ factor.T
        marginal = j @ c @ j.T + gamma**2 * np.eye(len(f))
        r = problem.y.numpy() - f
        gain = np.linalg.solve(marginal, j @ c).T
        log_det = np.linalg.slogdet(2 * np.pi * marginal)[1]
        log_terms.append(np.log(w) - 0.5 * (r @ np.linalg.solve(marginal, r) + log_det))
        means.append(x + gain @ r)
        covariances.append(c - gain @ j @ c)
    log_evidence = np.logaddexp.reduce(log_terms)
    return np.exp(log_terms - log_evidence), np.array(means), np.array(covariances), log_evidence


def _normal_log_density(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    r = x - mean
    quadratic = np.einsum("bi,ij,bj->b", r, np.linalg.inv(covariance), r)
    return -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])


@every_case
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "computed again"])
def test_every_answer_equals_the_textbook(
    kind: str, nonlinear: bool, d: int, m: int, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not keep:
        monkeypatch.setattr(linearised_mixture, "_KEPT", 0)
        monkeypatch.setattr(linearised_mixture, "_BLOCK", 2 * d * m)
    problem = _problem(kind, nonlinear, d, m)
    posterior = ExactLGM().posterior(problem)
    assert (posterior.updates is not None) == (keep or posterior.shared)
    w, means, covariances, log_evidence = _dense(problem)
    np.testing.assert_allclose(posterior.weights, w, rtol=1e-10)
    np.testing.assert_allclose(posterior.component_means, means, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(posterior.log_evidence, log_evidence, rtol=1e-11)
    index = torch.arange(len(w))
    np.testing.assert_allclose(posterior.component_covariances(index), covariances, atol=1e-11)
    mean = w @ means
    between = np.einsum("k,ki,kj->ij", w, means - mean, means - mean)
    covariance = np.einsum("k,kij->ij", w, covariances) + between
    np.testing.assert_allclose(posterior.mean(), mean, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(posterior.covariance(), covariance, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(posterior.std(), np.sqrt(np.diag(covariance)), rtol=1e-9)
    x = means[0] + 0.5 * _random(30, d, seed=9).numpy()
    log_density = np.logaddexp.reduce(
        [np.log(p) + _normal_log_density(x, mu, c) for p, mu, c in zip(w, means, covariances)]
    )
    np.testing.assert_allclose(posterior.log_density(torch.tensor(x)), log_density, rtol=1e-9)


@every_case
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "computed again"])
def test_draws_have_the_moments(
    kind: str, nonlinear: bool, d: int, m: int, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linearised_mixture, "_KEPT", 2**27 if keep else 0)
    posterior = ExactLGM().posterior(_problem(kind, nonlinear, d, m))
    n = 20_000 if keep else 2_000
    x = posterior.sample(n, Streams(7, "sampling"))
    mean, covariance = posterior.mean(), posterior.covariance()
    error = (x.mean(0) - mean).abs() / (covariance.diagonal() / n).sqrt()
    assert error.max() < 4.5
    products = torch.einsum("bi,bj->bij", x - mean, x - mean)
    error = (products.mean(0) - covariance).abs() / (products.std(0) / math.sqrt(n))
    assert error.max() < 4.5
    assert torch.equal(posterior.sample(40, Streams(7, "sampling")), x[:40])


# -- linear problems: exact ---------------------------------------------------------------------


def _by_singular_values(problem: InverseProblem, h: float) -> tuple[np.ndarray, np.ndarray]:
    """log w_n and mu_n for p(x) = mean_n N(x_n, h^2 I) and linear F, from the SVD of J / gamma.

    No normal equations, no factorisation of a Gram matrix: with J / gamma = U S V^T the data
    misfit splits into independent scalars, each with its own closed form.
    """
    operator, gamma = problem.operator, problem.noise.std
    assert isinstance(operator, Linear) and isinstance(problem.prior, KernelMixture)
    x = problem.prior.means.numpy()
    u, s, vt = np.linalg.svd(operator.matrix.numpy() / gamma, full_matrices=False)
    r = (problem.y.numpy() - x @ operator.matrix.numpy().T) / gamma
    c = r @ u
    outside = r - c @ u.T
    shrink = 1 / (1 + (h * s) ** 2)
    means = x + (h**2 * s * shrink * c) @ vt
    quadratic = (c**2 * shrink).sum(-1) + (outside**2).sum(-1)
    log_w = -0.5 * (quadratic + np.log1p((h * s) ** 2).sum())
    return log_w - np.logaddexp.reduce(log_w), means


@settings(max_examples=200)
@given(
    d=st.integers(1, 40),
    m=st.integers(1, 40),
    n=st.integers(1, 30),
    log_h=st.floats(-4, 1),
    log_noise=st.floats(-1, 1),
    seed=st.integers(0, 2**31),
)
def test_linear_problems_against_a_dense_computation(
    d: int, m: int, n: int, log_h: float, log_noise: float, seed: int
) -> None:
    """Means to 1e-10 of the largest coordinate, weights to 1e-10, log-weights to 1e-10 of the
    largest of them."""
    h, noise = 10**log_h, 10**log_noise
    data, matrix = _random(n, d, seed=seed), _random(m, d, seed=seed + 1)
    truth = data[seed % n] + h * _random(d, seed=seed + 2)
    y = matrix @ truth + noise * _random(m, seed=seed + 3)
    prior = EmpiricalGMM(bandwidth=h).fit(data)
    problem = InverseProblem(prior, Linear(matrix=matrix), GaussianNoise(noise), y)
    posterior = ExactLGM().posterior(problem)
    log_w, means = _by_singular_values(problem, h)
    scale = np.abs(means).max()
    np.testing.assert_allclose(posterior.component_means, means, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(posterior.weights, np.exp(log_w), rtol=0, atol=1e-10)
    atol = 1e-10 * max(1.0, np.abs(log_w).max())
    np.testing.assert_allclose(posterior.log_weights, log_w, rtol=0, atol=atol)


@pytest.mark.parametrize(("d", "m"), [(20, 21), (21, 20)])
def test_ill_conditioned_problems(d: int, m: int) -> None:
    """One step of refinement keeps the means at a condition number of 1e8; without it 1e-9."""
    u, v = (torch.linalg.qr(_random(k, k, seed=k))[0] for k in (m, d))
    singular_values = torch.logspace(0, -4, 20, dtype=torch.float64)
    matrix = u[:, :20] * singular_values @ v[:, :20].T
    data = _random(5, d, seed=1)
    y = matrix @ (data[0] + 10 * _random(d, seed=2)) + 1e-3 * _random(m, seed=3)
    prior = EmpiricalGMM(bandwidth=10.0).fit(data)
    problem = InverseProblem(prior, Linear(matrix=matrix), GaussianNoise(1e-3), y)
    posterior = ExactLGM().posterior(problem)
    log_w, means = _by_singular_values(problem, 10.0)
    np.testing.assert_allclose(posterior.component_means, means, rtol=0, atol=1e-11)
    np.testing.assert_allclose(posterior.log_weights, log_w, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("d", "m"), [(1, 1), (3, 5), (5, 3)])
@pytest.mark.parametrize("h", [1e-4, 1.0, 10.0])
def test_linear_problems_against_fifty_digits(d: int, m: int, h: float) -> None:
    """The SVD formulas and ours, both, against the textbook in 50 digits."""
    data, matrix, noise = _random(3, d, seed=1), _random(m, d, seed=2), 0.1
    y = matrix @ (data[0] + 0.1)
    problem = InverseProblem(
        EmpiricalGMM(bandwidth=h).fit(data), Linear(matrix=matrix), GaussianNoise(noise), y
    )
    posterior = ExactLGM().posterior(problem)
    svd_log_w, svd_means = _by_singular_values(problem, h)
    with mpmath.workdps(50):
        a = mpmath.matrix(matrix.tolist())
        s = mpmath.mpf(h) ** 2 * a * a.T + mpmath.mpf(noise) ** 2 * mpmath.eye(m)
        log_w, means = [], []
        for row in data.tolist():
            x = mpmath.matrix(row)
            r = mpmath.matrix(y.tolist()) - a * x
            solved = mpmath.lu_solve(s, r)
            means.append([float(v) for v in x + mpmath.mpf(h) ** 2 * (a.T * solved)])
            log_w.append(-(r.T * solved)[0] / 2 - mpmath.log(mpmath.det(s)) / 2)
        total = mpmath.log(sum(mpmath.exp(v - max(log_w)) for v in log_w)) + max(log_w)
        expected = [float(v - total) for v in log_w]
    np.testing.assert_allclose(svd_means, means, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(svd_log_w, expected, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(posterior.component_means, means, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(posterior.log_weights, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", ["kernel", "full"])
@pytest.mark.parametrize("d", [1, 2])
def test_linear_posteriors_equal_quadrature(kind: str, d: int) -> None:
    problem = _problem(kind, False, d, 1)
    exact, posterior = Quadrature().posterior(problem), ExactLGM().posterior(problem)
    x = _random(50, d, seed=6)
    torch.testing.assert_close(
        posterior.log_density(x), exact.log_density(x), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(posterior.log_evidence, exact.log_evidence, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(posterior.mean(), exact.mean(), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(posterior.covariance(), exact.covariance(), rtol=1e-10, atol=1e-11)
    masses = exact.expectation(problem.prior.responsibilities)  # type: ignore[attr-defined]
    torch.testing.assert_close(posterior.weights, masses, rtol=1e-11, atol=1e-12)


def test_the_log_determinant_is_needed() -> None:
    """Exact but for it: each component lies on one slope, the slopes are 1 and 5."""
    prior = EmpiricalGMM(bandwidth=0.3).fit(torch.tensor([[-2.0], [2.0]], dtype=torch.float64))
    operator = PiecewiseLinear(knots=[0.0], slopes=[1.0, 5.0], intercepts=[2.0, -10.0])
    for value in (0.0, 0.3, -1.0):
        y = torch.tensor([value], dtype=torch.float64)
        problem = InverseProblem(prior, operator, GaussianNoise(0.3), y)
        # the jump at 0 limits the trapezoid rule to the first order there, where the prior is 1e-10
        masses = Quadrature().posterior(problem).expectation(prior.responsibilities)
        with_it = ExactLGM().posterior(problem).weights
        without = ExactLGM(log_determinant=False).posterior(problem).weights
        assert (with_it - masses).abs().max() < 1e-6
        assert (without - masses).abs().max() > 0.05
    # y = 0 is F at both atoms, so the residuals vanish and the weights are 1 / sqrt(1 + slope^2)
    w = torch.tensor([2.0, 26.0], dtype=torch.float64).rsqrt()
    y = torch.zeros(1, dtype=torch.float64)
    problem = InverseProblem(prior, operator, GaussianNoise(0.3), y)
    torch.testing.assert_close(ExactLGM().posterior(problem).weights, w / w.sum())


def test_complex_data_are_stacked_real_data() -> None:
    d, m, n = 4, 3, 5
    data, real, imaginary = _random(n, d), _random(m, d, seed=1), _random(m, d, seed=2)
    y = torch.complex(_random(m, seed=3), _random(m, seed=4))
    prior = EmpiricalGMM(bandwidth=0.7).fit(data)
    std = 0.6
    matrix = torch.complex(real, imaginary)
    problem = InverseProblem(prior, Linear(matrix=matrix), GaussianNoise(std, complex=True), y)
    stacked = InverseProblem(
        prior,
        Linear(matrix=torch.cat([real, imaginary])),
        GaussianNoise(std / math.sqrt(2)),
        torch.cat([y.real, y.imag]),
    )
    ours, theirs = ExactLGM().posterior(problem), ExactLGM().posterior(stacked)
    for a, b in (
        (ours.log_weights, theirs.log_weights),
        (ours.component_means, theirs.component_means),
        (ours.covariance(), theirs.covariance()),
        (ours.log_evidence, theirs.log_evidence),
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    # Sigma = (h^-2 I + (2 / std^2) Re J^H J)^-1,  mu = x + Sigma (2 / std^2) Re J^H r
    j = matrix.numpy()
    sigma = np.linalg.inv(np.eye(d) / 0.49 + 2 / std**2 * (j.conj().T @ j).real)
    r = y.numpy() - data[0].numpy() @ j.T
    mean = data[0].numpy() + sigma @ (2 / std**2 * (j.conj().T @ r).real)
    np.testing.assert_allclose(ours.component_covariances(torch.tensor([0]))[0], sigma, atol=1e-12)
    np.testing.assert_allclose(ours.component_means[0], mean, atol=1e-12)


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "m"), [(2, 5), (5, 2)])
def test_vanishing_bandwidth(d: int, m: int) -> None:
    data, y = _random(6, d, seed=1), 0.1 * _random(m, seed=3)
    noise, operator = GaussianNoise(3.0), CubicFeatures(m=m)
    atoms = InverseProblem(EmpiricalGMM(bandwidth=0.0).fit(data), operator, noise, y)
    limit = FiniteSampleWeights().posterior(atoms)
    exact = ExactLGM().posterior(atoms)
    torch.testing.assert_close(exact.weights, limit.weights, rtol=1e-12, atol=0)
    torch.testing.assert_close(exact.component_means, data, rtol=0, atol=0)
    torch.testing.assert_close(exact.covariance(), limit.covariance(), rtol=1e-12, atol=1e-13)
    assert exact.log_evidence == pytest.approx(float(limit.log_evidence), rel=1e-12)
    for posterior in (exact, limit):
        assert ask(posterior, HasDensity) is None
    assert (exact.sample(50, Streams(0, "sampling"))[:, None] == data).all(-1).any(-1).all()
    errors = []
    for h in (1e-2, 1e-3, 1e-4):
        near = InverseProblem(EmpiricalGMM(bandwidth=h).fit(data), operator, noise, y)
        posterior = ExactLGM().posterior(near)
        errors.append(float((posterior.weights - limit.weights).abs().max()))
        assert (posterior.component_means - data).abs().max() < 100 * h**2
        sigma = posterior.component_covariances(torch.arange(6)) / h**2
        assert (sigma - torch.eye(d)).abs().max() < 1e3 * h**2
    assert errors[2] < 1e-6
    assert errors[1] < 0.02 * errors[0]  # second order in h
    assert errors[2] < 0.02 * errors[1]


@every_case
def test_uninformative_data_leave_the_prior(kind: str, nonlinear: bool, d: int, m: int) -> None:
    problem = _problem(kind, nonlinear, d, m)
    vague = InverseProblem(problem.prior, problem.operator, GaussianNoise(1e8), problem.y)
    posterior = ExactLGM().posterior(vague)
    prior = vague.prior
    assert isinstance(prior, MixturePrior)
    x = _random(20, d, seed=8)
    torch.testing.assert_close(posterior.weights, prior.weights, rtol=1e-9, atol=0)
    torch.testing.assert_close(posterior.component_means, prior.means, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(posterior.log_density(x), prior.log_density(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("d", "m"), [(30_000, 3), (3, 30_000)])
@pytest.mark.parametrize("nonlinear", [False, True])
def test_only_the_smaller_side_is_squared(d: int, m: int, nonlinear: bool) -> None:
    """A 30 000 x 30 000 matrix would take 7 GB and minutes to factorise."""
    problem = _problem("kernel", nonlinear, d, m, n=2)
    posterior = ExactLGM().posterior(problem)
    assert posterior.updates is not None and posterior.updates.cholesky.shape[-1] == 3
    draws = posterior.sample(2, Streams(0, "sampling"))
    assert torch.isfinite(posterior.log_density(draws)).all()
    assert (posterior.std() > 0).all() and (posterior.std() < 2).all()


@pytest.mark.parametrize(("d", "m"), [(2, 5), (5, 2)])
def test_single_precision(d: int, m: int) -> None:
    problem = _problem("kernel", True, d, m)
    single = InverseProblem(
        problem.prior.to(dtype=torch.float32), problem.operator, problem.noise, problem.y.float()
    )
    low, high = ExactLGM().posterior(single), ExactLGM().posterior(problem)
    assert low.mean().dtype == low.sample(2, Streams(0, "sampling")).dtype == torch.float32
    torch.testing.assert_close(low.weights.double(), high.weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(low.mean().double(), high.mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(low.std().double(), high.std(), rtol=1e-4, atol=1e-4)


# -- refusals -----------------------------------------------------------------------------------


class _NoMixture(FittedPrior):
    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return z

    def _draw(self, stream: object) -> Tensor:
        return torch.zeros(32, 2)

    def _state(self) -> State:
        return State({}, {})

    @classmethod
    def _from_state(cls, state: State) -> _NoMixture:
        return cls((2,), torch.zeros(1))


@pytest.mark.parametrize("sampler", [ExactLGM(), FiniteSampleWeights(), Quadrature()])
def test_other_priors_are_refused(sampler: ExactLGM) -> None:
    problem = InverseProblem(
        _NoMixture((2,), torch.zeros(2)), Quadratic2D(), GaussianNoise(1.0), torch.zeros(2)
    )
    with pytest.raises(PluginError, match="_NoMixture"):
        sampler.check(problem)
    with pytest.raises(PluginError, match="_NoMixture"):
        sampler.posterior(problem)


class Logarithm(ForwardOperator):
    """F(x) = log x, not finite for x <= 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


def test_a_non_finite_value_names_its_component() -> None:
    prior = EmpiricalGMM(bandwidth=0.1).fit(torch.tensor([[1.0], [2.0], [-1.0]]).double())
    y = torch.zeros(1, dtype=torch.float64)
    problem = InverseProblem(prior, Logarithm(), GaussianNoise(1.0), y)
    with pytest.raises(NonFiniteError) as caught:
        LinearisedMixture.of(problem)
    assert caught.value.sample == 2
