"""The Gauss-Newton guidance against dense algebra, exact posteriors and stiff problems."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sampler_problems import (
    affine_map,
    gaussian_posterior,
    gaussian_problem,
    run,
    scalar_problem,
    wide_start,
)

from mempost.core.autodiff import Product, value_and_products, value_and_pullback
from mempost.core.conjugate_gradient import solve_update
from mempost.core.counters import counting
from mempost.core.denoised import Denoised
from mempost.core.errors import NonFiniteError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.gauss_newton_dps import GaussNewtonDPS
from mempost.plugins.schedules.ve import VarianceExploding


def random(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def product(M: torch.Tensor) -> Product:
    """v -> M v, row by row."""
    return lambda v: (M @ v[..., None])[..., 0]


@given(
    d=st.integers(1, 12),
    m=st.integers(1, 12),
    rank=st.integers(0, 12),
    scale=st.floats(-2, 3),
    seed=st.integers(0, 10_000),
)
def test_conjugate_gradients_solve_the_update(d, m, rank, scale, seed):
    """u = (I + H C)^-1 g and C u, C singular or not, of condition numbers up to 1e6 or so."""
    batch = 4
    A = 10**scale * random(batch, m, d, seed=seed)
    root = random(batch, d, min(rank, d), seed=seed + 1)
    H, C = A.mT @ A, root @ root.mT
    g = (A.mT @ random(batch, m, 1, seed=seed + 2))[..., 0]
    with counting() as counts:
        u, cu = solve_update(product(H), product(C), g, 1e-12, 300)
    expected = C @ torch.linalg.solve(torch.eye(d).double() + H @ C, g[..., None])
    error = (cu - expected[..., 0]).norm() / expected.norm().clamp(min=1e-300)
    assert float(error) < 1e-6 or float(expected.norm()) == 0 == float(cu.norm())
    assert torch.allclose((C @ u[..., None])[..., 0], cu, rtol=1e-6, atol=1e-6 * float(cu.norm()))
    assert counts["cg_iterations"] <= batch * 300


def test_rows_of_a_solution_do_not_depend_on_one_another():
    A = random(6, 4, 5, seed=0) * 10 ** torch.arange(6).double()[:, None, None] / 100
    H, g = A.mT @ A, random(6, 5, seed=1)

    def solve(rows: slice) -> torch.Tensor:
        return solve_update(product(H[rows]), lambda v: v, g[rows], 1e-8, 50)[0]

    alone = torch.cat([solve(slice(i, i + 1)) for i in range(6)])
    assert torch.allclose(alone, solve(slice(0, 6)), rtol=1e-9)


def test_unfinished_rows_are_counted_and_non_finite_ones_raise():
    H = torch.diag(10 ** torch.linspace(0, 5, 8, dtype=torch.float64))
    g = torch.ones(3, 8, dtype=torch.float64)
    with counting() as counts:
        solve_update(lambda v: v @ H, lambda v: v, g, 1e-10, 2)
    assert counts == {"cg_iterations": 6, "cg_unconverged": 3}
    g[1, 2] = torch.nan
    with pytest.raises(NonFiniteError) as caught:
        solve_update(lambda v: v @ H, lambda v: v, g, 1e-10, 2)
    assert caught.value.sample == 1


def test_products_of_the_jacobian_agree_with_torch_func():
    operator, x = Quadratic2D(), random(5, 2, seed=3)
    v, w = random(5, 2, seed=4), random(5, 2, seed=5)
    value, jvp, vjp = value_and_products(operator, x)
    assert torch.equal(value, operator(x))
    assert torch.allclose(jvp(v), operator.jvp(x, v)[1], rtol=1e-13)
    assert torch.allclose(vjp(w), operator.vjp(x, w)[1], rtol=1e-13)
    assert torch.equal(vjp(w), value_and_pullback(operator, x)[1](w))
    _, pullback = value_and_pullback(lambda u: torch.ones(5, 2).double(), x)
    assert torch.equal(pullback(w), torch.zeros_like(x))


@pytest.mark.parametrize("linearisation", ["matrix_free", "jacobian"])
@pytest.mark.parametrize("covariance", ["denoiser", "isotropic"])
def test_guidance_equals_dense_algebra(linearisation, covariance):
    """J^T A^T (A C A^T + I)^-1 r with J = (a/s^2) C at a nonlinear map and a mixture prior."""
    atoms = torch.tensor([[2.0, 0.0], [0.6, 1.9], [-1.6, 1.2]], dtype=torch.float64)
    prior = EmpiricalGMM(bandwidth=0.3).fit(atoms)
    y = torch.tensor([1.4, 0.4], dtype=torch.float64)
    problem = InverseProblem(prior, Quadratic2D(), GaussianNoise(0.3), y)
    z, level = random(6, 2, seed=7), NoiseLevel(0.8, 0.6)
    sampler = GaussNewtonDPS(
        covariance=covariance, linearisation=linearisation, tolerance=1e-13, prior_variance=2.0
    )
    found = sampler.likelihood_score(problem, Denoised(prior, z, level))
    mean = prior.denoise(z, level)
    J = torch.stack([prior.at(z, level).vjp(e.expand(6, 2)) for e in torch.eye(2).double()], 1)
    r, A = problem.linearise(mean)
    scalar = 1 / (1 / 2.0 + 0.64 / 0.36) * torch.eye(2).double()
    C = 0.36 / 0.8 * J if covariance == "denoiser" else scalar
    inner = torch.linalg.solve(A @ C @ A.mT + torch.eye(2).double(), r[..., None])
    assert torch.allclose(found, (J.mT @ A.mT @ inner)[..., 0], rtol=1e-9)


@pytest.mark.parametrize("linearisation", ["matrix_free", "jacobian"])
def test_exact_for_a_gaussian_prior_and_a_linear_map(linearisation):
    """Moments by the affine recursion converge to the posterior's with the order of Heun."""
    problem = gaussian_problem()
    mean, covariance = gaussian_posterior()
    errors = []
    for n in (40, 80):
        sampler = GaussNewtonDPS(
            steps=n, solver="heun", t_min=2e-3, linearisation=linearisation, tolerance=1e-12
        )
        a, s = sampler.reverse_steps[0].level.columns(mean)
        # at t = 1 nothing is left of x: the start is that of the posterior to 1e-4
        m, P = a[0] * mean, a**2 * covariance + s**2 * torch.eye(3).double()
        for k in range(1, n + 1):
            M, b, _ = affine_map(sampler, problem, k, "z")
            m, P = M @ m + b, M @ P @ M.T
        errors.append(float((m - mean).norm() + (P - covariance).norm()))
    assert errors[1] < 0.004
    assert errors[0] / errors[1] > 3


def stiff_problem(dtype: torch.dtype = torch.float64) -> tuple[InverseProblem, torch.Tensor]:
    """Precisions of the data from 1 to 1e5 beside a prior precision of 1."""
    d = 6
    rotation, _ = torch.linalg.qr(random(d, d, seed=2))
    gains = 10 ** torch.linspace(0, 2.5, d, dtype=torch.float64)
    A = gains[:, None] * rotation.T
    prior = Gaussian(mean=[0.0] * d, covariance=1.0).fit().to(dtype=dtype)
    y = (A @ torch.linspace(-1, 1, d, dtype=torch.float64)).to(dtype)
    problem = InverseProblem(prior, Linear(matrix=A), GaussianNoise(1.0), y)
    covariance = rotation @ torch.diag(1 / (1 + gains**2)) @ rotation.T
    return problem, covariance


@pytest.mark.parametrize(
    ("method", "steps", "covariance"),
    [("heun", 80, "denoiser"), ("heun", 80, "isotropic"), ("euler_maruyama", 300, "denoiser")],
)
def test_stiff_problem_is_solved_where_the_explicit_rule_diverges(method, steps, covariance):
    """Likelihood curvature 1e5, as in full waveform inversion, on a schedule that resolves it."""
    problem, exact = stiff_problem()
    common = {
        "solver": method,
        "steps": steps,
        "schedule": VarianceExploding(sigma_min=1e-4),
        "t_min": 0.0,
    }
    sampler = GaussNewtonDPS(covariance=covariance, tolerance=1e-8, **common)
    _, A = problem.linearise(torch.zeros(1, 6).double())
    mean = exact @ A[0].mT @ problem.y
    x, _ = sampler.draw(problem, run(sampler, problem, wide_start(sampler, problem, 3072)))
    variances, directions = torch.linalg.eigh(exact)
    spread = ((x - mean) @ directions).square().mean(0) / variances
    # four standard errors of a variance from 3072 samples are 0.10; the steps add up to 0.05
    assert torch.allclose(spread, torch.ones(6).double(), atol=0.15), spread

    with pytest.raises(NonFiniteError, match="is not finite at step"):
        DPS(**common).sample(problem, 32, Streams(0, "sampling"))


def test_explicit_rule_on_the_stiff_problem_stops_with_an_error():
    problem, _ = stiff_problem(torch.float32)
    with pytest.raises(NonFiniteError, match="step") as caught:
        DPS().sample(problem, 32, Streams(0, "sampling"))
    assert caught.value.step is not None and caught.value.sample is not None
    x = GaussNewtonDPS().sample(problem, 32, Streams(0, "sampling")).flat
    assert float(problem.whitened_residual(x).square().mean()) < 10


def test_guidance_vanishes_where_one_atom_has_all_the_weight():
    """The covariance of x given z is zero there, and the equations have the solution zero."""
    atoms = torch.tensor([[-3.0], [3.0]], dtype=torch.float64)
    base = scalar_problem()
    problem = InverseProblem(EmpiricalGMM(bandwidth=0.0).fit(atoms), Identity(), base.noise, base.y)
    z = torch.tensor([[-3.0], [3.1]], dtype=torch.float64)
    at = Denoised(problem.prior, z, NoiseLevel(1.0, 0.05))
    assert torch.equal(GaussNewtonDPS().likelihood_score(problem, at), torch.zeros_like(z))
