"""Langevin samplers against exact posteriors, exact biases and their own reversibility."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from sampler_problems import (
    COVARIANCE,
    ConstantStream,
    affine_map,
    atoms_problem,
    gaussian_posterior,
    gaussian_problem,
    mixture_problem,
    order,
    run,
    scalar_problem,
    wide_start,
)

from mempost.core.errors import NonFiniteError, PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.chains.markov_chain import log_density_gradient
from mempost.methods.chains.preconditioner import (
    GaussNewton,
    PriorCovariance,
    prior_covariance,
)
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.samplers.annealed_langevin import AnnealedLangevin
from mempost.plugins.samplers.mala import MALA
from mempost.plugins.samplers.pcn import PCN
from mempost.plugins.samplers.ula import ULA
from mempost.plugins.schedules.ve import VarianceExploding

CHAINS = {"warmup": 300, "draws": 60, "thin": 4}
GIVEN = {"type": "matrix", "values": [[1.0, 0.2, 0.0], [0.2, 0.5, 0.0], [0.0, 0.0, 0.8]]}


@pytest.mark.parametrize(
    "sampler",
    [
        MALA(**CHAINS),
        MALA(**CHAINS, preconditioner="prior"),
        MALA(**CHAINS, preconditioner="gauss_newton"),
        MALA(**CHAINS, preconditioner=GIVEN, target_acceptance=0.8),
        PCN(**CHAINS),
    ],
    ids=lambda s: f"{type(s).__name__}-{getattr(getattr(s, 'preconditioner', None), 'type', '')}",
)
def test_exact_posterior_within_four_standard_errors(sampler):
    """Means and second moments of 96 independent chains, each chain one observation."""
    mean, covariance = gaussian_posterior()
    samples = sampler.sample(gaussian_problem(), 96, Streams(11, "sampling"))
    assert samples.values.shape == (96, 60, 3)
    centred = samples.values - mean
    products = torch.einsum("cti,ctj->cij", centred, centred).flatten(1) / 60
    per_chain = torch.cat([centred.mean(1), products - covariance.flatten()], -1)
    z = per_chain.mean(0) / (per_chain.std(0) / math.sqrt(96))
    assert float(z.abs().max()) < 4, z
    acceptance = float(samples.stats["acceptance"].mean())
    assert acceptance == pytest.approx(sampler.target_acceptance, abs=0.1)


def test_nonlinear_posterior_within_four_standard_errors():
    """A bimodal posterior of one unknown, x ~ N(0, 1), y = x^2 + noise, against quadrature."""
    prior = Gaussian(mean=[0.3], covariance=1.0).fit()
    y = torch.tensor([0.5], dtype=torch.float64)
    problem = InverseProblem(prior, Polynomial(coefficients=[0, 0, 1]), GaussianNoise(0.6), y)
    grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None]
    weights = problem.log_density(grid).softmax(0)
    functions = [lambda x: x, lambda x: x**2, lambda x: x**4, lambda x: (x > 0).double()]
    for sampler in (MALA(**CHAINS), PCN(**CHAINS)):
        x = sampler.sample(problem, 64, Streams(3, "sampling")).values[..., 0]
        for f in functions:
            chains = f(x).mean(1)
            exact = float(weights @ f(grid[:, 0]))
            error = float(chains.mean() - exact) / float(chains.std() / 8)
            assert abs(error) < 4


def test_mixture_prior_within_four_standard_errors():
    """Started from the prior, chains cross between overlapping modes."""
    problem = mixture_problem(std=1.5)
    axes = torch.linspace(-6, 6, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axes, axes)
    weights = problem.log_density(grid).softmax(0)
    exact = weights @ grid
    x = MALA(**CHAINS).sample(problem, 64, Streams(5, "sampling")).values
    chains = x.mean(1)
    z = (chains.mean(0) - exact) / (chains.std(0) / 8)
    assert float(z.abs().max()) < 4


def ula_step(sampler: ULA, problem: InverseProblem, x: torch.Tensor, noise: float) -> torch.Tensor:
    """One step from any x, with every normal number equal to ``noise``."""
    value, gradient = log_density_gradient(problem, x, sampler.smoothing)
    h = torch.full_like(value, sampler.step_size)
    state = {"x": x, "gradient": gradient, "log_density": value, "step_size": h}
    return sampler.step(problem, state, 1, ConstantStream(noise))["x"]


def test_bias_of_ula_is_linear_in_its_step():
    """The invariant law of the chain as coded, without sampling: 1/(lambda (1 - h lambda/2))."""
    problem = scalar_problem(variance=1.0, std=0.5)
    exact = 1 / 5
    steps, errors = [20, 40, 80, 160], []
    for n in steps:
        sampler, zero = ULA(step_size=1 / n), torch.zeros(1, 1, dtype=torch.float64)
        origin = ula_step(sampler, problem, zero, 0.0)
        slope = float(ula_step(sampler, problem, zero + 1, 0.0) - origin)
        gain = float(ula_step(sampler, problem, zero, 1.0) - origin)
        variance = gain**2 / (1 - slope**2)
        assert variance == pytest.approx(1 / (5 * (1 - 2.5 / n)), rel=1e-12)
        errors.append(variance - exact)
    assert order(steps, errors) == pytest.approx(1, abs=0.2)


def test_ula_samples_its_biased_law():
    """Variance of replicated chains at a large step, within four standard errors."""
    problem, h = scalar_problem(variance=1.0, std=0.5), 0.1
    sampler = ULA(step_size=h, warmup=60, draws=40, thin=5)
    x = sampler.sample(problem, 96, Streams(2, "sampling")).values[..., 0]
    chains = (x - 0.8 * 0.8).square().mean(1)
    biased, exact = 1 / (5 * (1 - 2.5 * h)), 1 / 5
    error = float(chains.std()) / math.sqrt(96)
    assert abs(float(chains.mean()) - biased) < 4 * error
    assert abs(float(chains.mean()) - exact) > 4 * error


def test_bias_of_ula_is_linear_in_its_step_for_a_bimodal_posterior():
    """The invariant density of the chain's kernel on a grid, by squaring the kernel."""
    smoothing = 0.5
    problem = atoms_problem(-0.8)
    grid = torch.linspace(-4, 2.5, 521, dtype=torch.float64)[:, None]
    dx = float(grid[1] - grid[0])
    exact = log_density_gradient(problem, grid, smoothing)[0].softmax(0)

    def moment(p: torch.Tensor) -> float:
        return float((p @ grid[:, 0] ** 2) / p.sum())

    steps, errors = [20, 40, 80], []
    for n in steps:
        sampler = ULA(step_size=0.4 / n, smoothing=smoothing)
        centre = ula_step(sampler, problem, grid, 0.0)
        gain = float((ula_step(sampler, problem, grid, 1.0) - centre)[0])
        kernel = torch.exp(-0.5 * ((grid.T - centre) / gain) ** 2)
        kernel = kernel / kernel.sum(1, keepdim=True)
        assert gain > 2 * dx
        for _ in range(14):
            kernel = kernel @ kernel
        errors.append(abs(moment(kernel[260]) - moment(exact)))
    assert order(steps, errors) == pytest.approx(1, abs=0.2)


def annealed_variance(sampler: AnnealedLangevin, problem: InverseProblem) -> float:
    """Variance of the last state, by the affine recursion of all steps."""
    variance, K = 1.0 + sampler.sigma(1) ** 2, sampler.steps_per_level
    for first in range(1, sampler.n_steps, K):
        M, _, gain = affine_map(sampler, problem, first, "x")
        assert torch.equal(M, affine_map(sampler, problem, first + K - 1, "x")[0])
        for _ in range(K):
            variance = float(M[0, 0]) ** 2 * variance + float(gain[0]) ** 2
    return variance


@pytest.mark.parametrize("likelihood", ["annealed", "fixed"])
def test_annealed_langevin_comes_closer_as_its_steps_grow(likelihood):
    """Relative bias of the variance: halved by twice the steps of a level, as documented."""
    problem, exact = scalar_problem(), 1 / 5
    steps, errors = [25, 50, 100], []
    for n in steps:
        sampler = AnnealedLangevin(
            levels=12,
            steps_per_level=n,
            likelihood=likelihood,
            schedule=VarianceExploding(sigma_min=0.002, sigma_max=5.0),
            step_size=0.05,
        )
        errors.append(abs(annealed_variance(sampler, problem) / exact - 1))
    assert errors[0] > errors[1] > errors[2]
    assert errors[-1] < 0.25
    assert order(steps, errors) == pytest.approx(1, abs=0.25)


def test_annealed_langevin_samples_the_law_of_its_recursion():
    problem = scalar_problem()
    sampler = AnnealedLangevin(levels=6, steps_per_level=10)
    x = run(sampler, problem, wide_start(sampler, problem, 10_000))["x"]
    expected = annealed_variance(sampler, problem)
    assert float(x.var()) == pytest.approx(expected, rel=4 * math.sqrt(2 / 10_000))


def test_annealed_langevin_finds_all_atoms():
    """Where a single chain would stay, levels of falling noise carry it: masses near the exact."""
    problem = atoms_problem(-0.8)
    sampler = AnnealedLangevin(
        levels=20, steps_per_level=30, schedule=VarianceExploding(sigma_min=0.05, sigma_max=5.0)
    )
    x = run(sampler, problem, wide_start(sampler, problem, 4000))["x"]
    nearest = (x - problem.prior.means.T).abs().argmin(-1)
    masses = torch.bincount(nearest, minlength=3) / 4000
    assert torch.allclose(masses, torch.tensor([0.5, 0.5, 0.0]), atol=0.05)


def test_step_sizes_adapt_for_every_chain_and_then_freeze():
    problem, streams = gaussian_problem(), Streams(1, "sampling")
    sampler = MALA(warmup=40, draws=4, thin=5)
    states = dict(sampler.trajectory(problem, 0, streams))
    assert len(states[40]["step_size"].unique()) == 32
    for k in (41, 60):
        assert torch.equal(states[k]["step_size"], states[40]["step_size"])
    assert not torch.equal(states[39]["step_size"], states[40]["step_size"])
    stats = sampler.sample(problem, 5, streams).stats
    assert torch.equal(stats["step_size"], states[40]["step_size"][:5, None].expand(5, 4))


def test_proposals_of_mala_are_reversible():
    """Acceptance as coded equals p(y) q(x | y) / (p(x) q(y | x)) with densities written out."""
    problem = gaussian_problem()
    sampler = MALA(preconditioner=GIVEN, step_size=0.3, warmup=0, draws=1, thin=1)
    streams = Streams(9, "sampling")
    state = sampler.init(problem, streams.at(0))
    after = sampler.step(problem, state, 1, streams.at(0, 1))
    M = torch.tensor(GIVEN["values"], dtype=torch.float64)
    L = torch.linalg.cholesky(M)
    x = state["x"]
    noise = streams.at(0, 1).normal((32, 3))
    g = log_density_gradient(problem, x, 0.0)[1]
    y = x + 0.3 * g @ M + math.sqrt(0.6) * noise @ L.T

    def log_q(to, start):
        drift = start + 0.3 * log_density_gradient(problem, start, 0.0)[1] @ M
        return torch.distributions.MultivariateNormal(drift, 0.6 * M).log_prob(to)

    ratio = problem.log_density(y) - problem.log_density(x) + log_q(x, y) - log_q(y, x)
    assert torch.allclose(after["acceptance"], ratio.clamp(max=0).exp(), rtol=1e-9)
    moved = (after["x"] != x).any(-1)
    assert torch.allclose(after["x"][moved], y[moved], rtol=1e-12)
    assert 0 < int(moved.sum()) < 32


def test_preconditioners_are_the_matrices_they_name():
    problem = gaussian_problem()
    x = torch.zeros(2, 3).double()
    L = PriorCovariance().factor(problem, x)
    assert torch.allclose(L @ L.mT, COVARIANCE.expand(2, 3, 3))
    L = GaussNewton().factor(problem, x)
    assert torch.allclose(L @ L.mT, gaussian_posterior()[1].expand(2, 3, 3))
    L = GaussNewton(prior_variance=2.0).factor(problem, x)
    _, A = problem.linearise(x)
    assert torch.allclose(
        torch.linalg.inv(L @ L.mT), 0.5 * torch.eye(3).double() + A.mT @ A, rtol=1e-9
    )
    draws = mixture_problem().prior.sample(50_000, Streams(0, "truth"))
    assert torch.allclose(prior_covariance(mixture_problem().prior), torch.cov(draws.T), atol=0.05)


def test_gauss_newton_makes_a_stiff_problem_easy():
    """Condition 1e5: the preconditioned step is of order one, the plain one of order 1e-5."""
    gains = [1.0, 10.0, 300.0]
    prior = Gaussian(mean=[0.0] * 3, covariance=1.0).fit()
    A = torch.diag(torch.tensor(gains, dtype=torch.float64))
    problem = InverseProblem(prior, Linear(matrix=A), GaussianNoise(1.0), torch.ones(3).double())
    common = {"warmup": 200, "draws": 40, "thin": 2}
    plain, preconditioned = (
        MALA(**common, preconditioner=p).sample(problem, 64, Streams(0, "sampling"))
        for p in ("identity", "gauss_newton")
    )
    assert float(preconditioned.stats["step_size"].mean()) > 0.3
    assert float(plain.stats["step_size"].mean()) < 1e-3
    variance = 1 / (1 + torch.tensor(gains, dtype=torch.float64) ** 2)
    mean = variance * torch.tensor(gains, dtype=torch.float64)
    chains = (preconditioned.values - mean).square().mean(1) / variance
    z = (chains.mean(0) - 1) / (chains.std(0) / 8)
    assert float(z.abs().max()) < 4


def test_factor_follows_the_chain_half_way_through_the_warm_up():
    """On a nonlinear map the Gauss-Newton matrix is taken twice, and then stays."""
    prior = Gaussian(mean=[0.0], covariance=4.0).fit()
    y = torch.tensor([1.0], dtype=torch.float64)
    problem = InverseProblem(prior, Polynomial(coefficients=[0, 1, 0, 0.3]), GaussianNoise(0.2), y)
    sampler = MALA(warmup=20, draws=2, thin=5, preconditioner="gauss_newton")
    states = dict(sampler.trajectory(problem, 0, Streams(0, "sampling")))
    assert torch.equal(states[0]["factor"], states[9]["factor"])
    assert not torch.equal(states[9]["factor"], states[10]["factor"])
    expected = GaussNewton().factor(problem, states[9]["x"])
    assert torch.equal(states[10]["factor"], expected)
    assert torch.equal(states[10]["factor"], states[30]["factor"])


def test_smoothing_makes_densities_of_atoms():
    """The posterior of atoms with noise b added, against its closed form."""
    problem, b = atoms_problem(-1.0), 0.4
    atoms = problem.prior.means[:, 0]
    total = b**2 + 0.3**2
    weights = (-((-1.0 - atoms) ** 2) / (2 * total)).softmax(0)
    means = (atoms * 0.3**2 - b**2) / total
    exact = torch.stack([weights @ means, weights @ (means**2 + (b * 0.3) ** 2 / total)])
    smooth = {"smoothing": b, "warmup": 200, "draws": 40, "thin": 4}
    for sampler in (MALA(**smooth), ULA(**smooth, step_size=0.004)):
        x = sampler.sample(problem, 64, Streams(8, "sampling")).values[..., 0]
        chains = torch.stack([x.mean(1), x.square().mean(1)], -1)
        z = (chains.mean(0) - exact) / (chains.std(0) / 8)
        assert float(z.abs().max()) < 4


class Hidden(FittedPrior):
    """A prior known by its denoiser alone."""

    def __init__(self, prior):
        super().__init__(prior.shape, prior.means)
        self.prior = prior

    def _denoise(self, z, a, s):
        return self.prior._denoise(z, a, s)

    def _draw(self, stream):
        return self.prior._draw(stream)

    def _state(self):
        return self.prior._state()

    @classmethod
    def _from_state(cls, state):
        raise NotImplementedError


def test_ula_needs_the_denoiser_alone_with_smoothing():
    problem = gaussian_problem()
    hidden = InverseProblem(Hidden(problem.prior), problem.operator, problem.noise, problem.y)
    sampler = ULA(step_size=0.01, smoothing=0.3, warmup=10, draws=2, thin=3)
    x = sampler.sample(problem, 32, Streams(0, "sampling"))
    y = sampler.sample(hidden, 32, Streams(0, "sampling"))
    assert torch.allclose(x.values, y.values, rtol=1e-9)
    assert set(x.stats) == {"log_density"} and not y.stats
    level = NoiseLevel(1.0, 0.3)
    last = x.values[:, -1]
    expected = problem.prior.log_density(last, level) + problem.log_likelihood(last)
    assert torch.allclose(x.stats["log_density"][:, -1], expected)
    with pytest.raises(PluginError, match="smoothing > 0"):
        ULA().check(hidden)


@pytest.mark.parametrize(
    ("sampler", "problem", "message"),
    [
        (MALA(), atoms_problem(0.0), "mala: .* smoothing > 0"),
        (ULA(), atoms_problem(0.0), "smoothing > 0"),
        (PCN(), atoms_problem(0.0), "found a mixture of 3"),
        (PCN(), mixture_problem(), "found a mixture of 2"),
    ],
    ids=["mala-atoms", "ula-atoms", "pcn-atoms", "pcn-mixture"],
)
def test_priors_that_do_not_fit_are_refused(sampler, problem, message):
    with pytest.raises(PluginError, match=message):
        sampler.sample(problem, 3, Streams(0, "sampling"))


def test_pcn_takes_any_gaussian_and_no_atom():
    y = torch.tensor([0.8], dtype=torch.float64)
    one = torch.tensor([[0.5]], dtype=torch.float64)
    kernel = EmpiricalGMM(bandwidth=0.7).fit(one)
    problem = scalar_problem(std=0.5)
    problem = InverseProblem(kernel, problem.operator, problem.noise, y)
    x = PCN(**CHAINS).sample(problem, 96, Streams(0, "sampling")).values[..., 0]
    exact = (0.5 * 0.25 + 0.8 * 0.49) / 0.74
    chains = x.mean(1)
    assert abs(float(chains.mean()) - exact) < 4 * float(chains.std()) / math.sqrt(96)
    atom = InverseProblem(EmpiricalGMM(bandwidth=0.0).fit(one), problem.operator, problem.noise, y)
    with pytest.raises(PluginError, match="a single atom"):
        PCN().check(atom)


def test_log_density_is_reported_up_to_the_evidence():
    problem = gaussian_problem()
    for sampler in (MALA(warmup=3, draws=2, thin=2), PCN(warmup=3, draws=2, thin=2)):
        samples = sampler.sample(problem, 5, Streams(0, "sampling"))
        expected = problem.log_density(samples.values.flatten(0, 1)).reshape(5, 2)
        assert torch.allclose(samples.stats["log_density"], expected)
        assert samples.stats["acceptance"].shape == (5, 2)


def test_non_finite_acceptance_is_named():
    prior = Gaussian(mean=[0.0], covariance=1.0).fit().to(dtype=torch.float32)
    y = torch.tensor([1.0])
    problem = InverseProblem(
        prior, Polynomial(coefficients=[0, 0, 0, 0, 0, 0, 1e30]), GaussianNoise(1e-6), y
    )
    with pytest.raises(NonFiniteError):
        MALA(step_size=1e30, warmup=5, draws=1).sample(problem, 3, Streams(0, "sampling"))


@pytest.mark.parametrize(
    ("preconditioner", "message"),
    [
        ({"type": "matrix", "values": [[1.0, 0.5], [0.0, 1.0]]}, "symmetric"),
        ({"type": "matrix", "values": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite"),
        ("hessian", "does not match any of the expected tags"),
    ],
)
def test_preconditioners_that_do_not_fit_are_refused(preconditioner, message):
    with pytest.raises(ValidationError, match=message):
        MALA(preconditioner=preconditioner)
