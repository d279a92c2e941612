"""The finite-sample reference against closed forms: scores, moments at all levels, final masses."""

from __future__ import annotations

import math

import pytest
import torch
from lens_problems import (
    CUBIC,
    MIXTURE,
    PROBLEMS,
    TIMES,
    atoms_of,
    central_moments,
    gaussian,
    three_atoms,
    weights_of,
)
from scipy.stats import norm

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.finite_sample import FiniteSample

LEVEL = 1e-3
MOMENTS = len(PROBLEMS) * len(TIMES) * 2


def test_it_is_the_gradient_of_the_exact_log_density():
    atoms = torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    prior = EmpiricalGMM(bandwidth=0.0).fit(atoms)
    y = torch.tensor([0.4, -0.3], dtype=torch.float64)
    problem = InverseProblem(prior, Quadratic2D(), GaussianNoise(0.5), y)
    q = weights_of(problem, atoms)
    z = torch.linspace(-2, 2, 22, dtype=torch.float64).reshape(11, 2).requires_grad_()
    for a, s in ((0.9, 0.3), (0.5, 0.8), (1.0, 2.0)):
        log_p = (q.log() - (z[:, None] - a * atoms).square().sum(-1) / (2 * s**2)).logsumexp(-1)
        score = torch.autograd.grad(log_p.sum(), z)[0]
        mean = FiniteSample().denoiser(problem)(z.detach(), NoiseLevel(a, s))
        torch.testing.assert_close((a * mean - z) / s**2, score, rtol=1e-9, atol=1e-9)


def test_the_bandwidth_does_not_count_and_other_priors_are_drawn_from():
    problem = three_atoms()
    wide = EmpiricalGMM(bandwidth=0.4).fit(problem.prior.means)
    smooth = InverseProblem(wide, problem.operator, problem.noise, problem.y)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    level = NoiseLevel(0.8, 0.6)
    expected = FiniteSample().denoiser(problem)(z, level)
    torch.testing.assert_close(FiniteSample().denoiser(smooth)(z, level), expected)

    with pytest.raises(PluginError, match="atoms: N"):
        FiniteSample().check(gaussian())
    drawn = FiniteSample(atoms=64, seed=3).conditioned(gaussian())
    torch.testing.assert_close(
        drawn.means, gaussian().prior.sample(64, Streams(3, "training")), rtol=0, atol=0
    )


def _moments_agree(name: str, atoms: int, particles: int, tile: int) -> None:
    """Bonferroni over all problems, times and both moments: one false alarm in a thousand runs."""
    problem = PROBLEMS[name]()
    drawn = None if name.startswith("three") else atoms
    sampler = FiniteSample(
        solver="euler_maruyama", steps=2000, t_min=0.01, save=TIMES, tile=tile, atoms=drawn
    )
    samples = sampler.sample(problem, particles, Streams(11, "sampling"))
    x = atoms_of(problem, atoms)
    q = weights_of(problem, x)
    bound = norm.isf(LEVEL / MOMENTS / 2)
    for i, level in enumerate(sampler.saved_levels()):
        z = samples.trajectory.z[0, :, i, 0]
        mean, variance, fourth = central_moments(x, q, level)
        assert abs(float(z.mean()) - mean) < bound * math.sqrt(variance / particles)
        error = math.sqrt((fourth - variance**2) / particles)
        assert abs(float(z.var()) - variance) < bound * error
    _masses_agree(samples.flat[:, 0], x[:, 0], q, particles)


def _masses_agree(draws, atoms, q, n) -> None:
    """Draws sit on atoms, with the exact weights: exact binomial deviations of up to ten groups."""
    ordered, order = atoms.sort()
    groups = min(10, len(atoms))
    cumulative = q[order].cumsum(0)
    edges = torch.searchsorted(cumulative, torch.arange(1, groups) / groups).unique()
    edges = torch.arange(groups - 1) if groups == len(atoms) else edges
    cuts = (ordered[edges] + ordered[edges + 1]) / 2
    found = (draws[:, None] <= cuts).double().mean(0)
    expected = cumulative[edges]
    error = (expected * (1 - expected) / n).sqrt() + 2 / n
    assert ((found - expected).abs() < norm.isf(LEVEL / 60 / 2) * error).all()


@pytest.mark.parametrize("name", [n for n in PROBLEMS if n.startswith("three")])
def test_moments_at_every_level_and_final_masses(name):
    _moments_agree(name, atoms=3, particles=2048, tile=2048)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in PROBLEMS if not n.startswith("three")])
def test_moments_at_every_level_with_drawn_atoms(name):
    _moments_agree(name, atoms=2048, particles=1024, tile=1024)


def test_the_error_against_a_continuous_prior_falls_as_the_root_of_the_atoms():
    """RMS error of the conditional score at fixed t, against the analytic posterior's score."""
    prior = MIXTURE.fit()
    y, gamma2 = 0.5, 0.3**2
    problem = InverseProblem(
        prior, Identity(), GaussianNoise(0.3), torch.tensor([y], dtype=torch.float64)
    )
    v = torch.tensor([0.16, 0.36], dtype=torch.float64)
    m = torch.tensor([-1.0, 1.5], dtype=torch.float64)
    w = torch.tensor([0.4, 0.6], dtype=torch.float64)
    log_w = w.log() - 0.5 * (v + gamma2).log() - (y - m) ** 2 / (2 * (v + gamma2))
    w, m, v = log_w.softmax(0), (m * gamma2 + y * v) / (v + gamma2), v * gamma2 / (v + gamma2)
    assert float(w[0]) == pytest.approx(0.0293, abs=1e-4)  # the setting of the paper

    a, s = 0.8, 0.6
    z = torch.linspace(-0.6, 1.8, 41, dtype=torch.float64, requires_grad=True)
    total = a**2 * v + s**2
    log_p = (w.log() - 0.5 * total.log() - (z[:, None] - a * m) ** 2 / (2 * total)).logsumexp(-1)
    exact, z = torch.autograd.grad(log_p.sum(), z)[0], z.detach()
    sizes, errors = [2**k for k in range(9, 15)], []
    for atoms in sizes:
        square = 0.0
        for seed in range(16):
            sampler = FiniteSample(atoms=atoms, seed=seed)
            mean = sampler.denoiser(problem)(z[:, None], NoiseLevel(a, s))[:, 0]
            square += float(((a * mean - z) / s**2 - exact).square().mean()) / 16
        errors.append(math.sqrt(square))
    x = torch.tensor(sizes, dtype=torch.float64).log()
    e = torch.tensor(errors, dtype=torch.float64).log()
    x = x - x.mean()
    slope = float((x * e).sum() / (x * x).sum())
    assert slope == pytest.approx(-0.5, abs=0.1)


def test_the_cost_of_a_step_is_linear_in_atoms():
    """Doubling the atoms doubles the matrix products and adds no others."""
    from torch.utils.flop_counter import FlopCounterMode

    def flops(atoms: int) -> int:
        x = torch.randn(atoms, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        prior = EmpiricalGMM(bandwidth=0.0).fit(x)
        problem = InverseProblem(prior, Identity(), GaussianNoise(0.5), x[0])
        sampler, z = FiniteSample(), x[:32]
        sampler.conditioned(problem)
        with FlopCounterMode(display=False) as counter:
            sampler.denoiser(problem)(z, NoiseLevel(0.8, 0.6))
        return counter.get_total_flops()

    assert flops(2048) == 2 * flops(1024)
    assert flops(1024) == 2 * 2 * 32 * 1024 * 16  # logits and the mean, a multiply and an add each


def test_nonlinear_maps_change_the_weights():
    linear, cubic = three_atoms(-1.0), three_atoms(-1.0, CUBIC)
    q = FiniteSample().conditioned(cubic).weights
    torch.testing.assert_close(q, weights_of(cubic, cubic.prior.means))
    assert not torch.allclose(q, FiniteSample().conditioned(linear).weights)
