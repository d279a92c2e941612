"""The rules of DPS against closed forms, an independent transcription and published tables."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from sampler_problems import (
    COVARIANCE,
    DATA,
    MATRIX,
    MEAN,
    RowStream,
    atoms_problem,
    gaussian_problem,
    states,
    wide_start,
)

from mempost.core.denoised import Denoised
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.reverse import GuidedSampler
from mempost.core.streams import Streams
from mempost.plugins.guidance.gaussian import Gaussian
from mempost.plugins.guidance.residual_norm import ResidualNorm
from mempost.plugins.guidance.unit_gradient import UnitGradient
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.schedules.vp import VariancePreserving
from mempost.plugins.schedules.vp_discrete import DiscreteVariancePreserving

RULES = [
    "gaussian",
    {"type": "residual_norm", "zeta": 0.4},
    "unit_gradient",
    {"type": "unit_gradient", "second_call": "new_level", "jacobian": "exact"},
    {"type": "unit_gradient", "jacobian": "frozen", "length": "proportional", "step_length": 0.01},
]


def quadratic_problem(std: float = 0.3) -> InverseProblem:
    """Figure 1's nonlinear map of the plane under a memorized prior."""
    angle = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    atoms = 2 * torch.stack([angle.cos(), angle.sin()], -1)
    y = torch.tensor([1.4, 0.392], dtype=torch.float64)
    return InverseProblem(
        EmpiricalGMM(bandwidth=0.3).fit(atoms), Quadratic2D(), GaussianNoise(std), y
    )


def test_gaussian_and_residual_norm_in_closed_form():
    problem, a, s = gaussian_problem(std=0.7), 0.6, 0.8
    z = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    J = a * COVARIANCE @ torch.linalg.inv(a**2 * COVARIANCE + s**2 * torch.eye(3).double())
    mean = MEAN + (z - a * MEAN) @ J.T
    residual = DATA - mean @ MATRIX.T
    expected = residual @ MATRIX @ J / 0.7**2
    at = Denoised(problem.prior, z, NoiseLevel(a, s))
    assert torch.allclose(DPS().rule.likelihood_score(problem, at), expected, rtol=1e-12)
    sampler = DPS(rule={"type": "residual_norm", "zeta": 0.4})
    weight = 0.8 / residual.norm(dim=-1, keepdim=True)
    assert torch.allclose(sampler.rule.likelihood_score(problem, at), weight * expected, rtol=1e-12)


def test_complex_data_count_as_real_ones():
    """With E|n|^2 = std^2 every real component has variance std^2/2."""
    complex_matrix = MATRIX.to(torch.complex128) * (1 + 0.5j)
    stacked = torch.stack([complex_matrix.real, complex_matrix.imag], 1).reshape(4, 3)
    y = DATA * (0.3 - 0.8j)
    prior = gaussian_problem().prior
    as_complex = InverseProblem(
        prior, Linear(matrix=complex_matrix), GaussianNoise(0.5, complex=True), y
    )
    as_real = InverseProblem(
        prior,
        Linear(matrix=stacked),
        GaussianNoise(0.5 / math.sqrt(2)),
        torch.view_as_real(y).flatten(),
    )
    for rule in RULES:
        sampler = DPS(steps=5, rule=rule)
        x = [sampler.sample(p, 4, Streams(0, "sampling")).flat for p in (as_complex, as_real)]
        assert torch.allclose(*x, rtol=1e-12, atol=1e-12)


def test_unit_gradient_step_by_step():
    """An independent transcription of the rule for F(x) = A x and a network that predicts noise."""
    problem, T, eta = gaussian_problem(), 20, 0.07
    schedule = DiscreteVariancePreserving(steps=T)
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, T, dtype=torch.float64), 0)

    def network(z, t):
        """E[e | z] under N(MEAN, COVARIANCE)."""
        a2 = abar[t]
        K = torch.linalg.inv(a2 * COVARIANCE + (1 - a2) * torch.eye(3).double())
        return (1 - a2).sqrt() * (z - a2.sqrt() * MEAN) @ K

    sampler = DPS(
        schedule=schedule,
        steps=T,
        t_min=1 / T,
        solver="ddim",
        start="standard_normal",
        rule={"type": "unit_gradient", "step_length": eta},
    )
    z = sampler.init(problem, Streams(3, "sampling").at(0))["z"]
    for t in reversed(range(T)):
        e = network(z, t)
        x = (z - (1 - abar[t]).sqrt() * e) / abar[t].sqrt()
        z = abar[t - 1].sqrt() * x + (1 - abar[t - 1]).sqrt() * e if t else x
        before = abar[max(t - 1, 0)]
        x = (z - (1 - before).sqrt() * network(z, t)) / before.sqrt()
        g = (x @ MATRIX.T - DATA) @ MATRIX / abar[t].sqrt()
        z = z - eta * g / g.norm(dim=-1, keepdim=True)
    ours = sampler.sample(problem, 32, Streams(3, "sampling")).flat
    assert torch.allclose(ours, z, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "rule", [r for r in RULES if "unit" in str(r)], ids=["paper", "exact", "proportional"]
)
@pytest.mark.parametrize("problem_of", [gaussian_problem, quadratic_problem])
def test_unit_gradient_ignores_the_noise_level(problem_of, rule):
    sampler = DPS(steps=30, rule=rule, start="standard_normal")
    low, high = (
        sampler.sample(problem_of(std), 40, Streams(1, "sampling")).flat for std in (0.03, 3.0)
    )
    assert torch.equal(low, high)
    assert "uses_noise_level" not in sampler.tags


@pytest.mark.parametrize("rule", ["gaussian", "residual_norm"])
@pytest.mark.parametrize("problem_of", [gaussian_problem, quadratic_problem])
def test_other_rules_follow_the_noise_level(problem_of, rule):
    sampler = DPS(steps=30, rule=rule)
    low, high = (
        sampler.sample(problem_of(std), 40, Streams(1, "sampling")).flat for std in (0.6, 3.0)
    )
    assert float((low - high).abs().max()) > 0.05
    assert "uses_noise_level" in sampler.tags


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("method", ["ddim", "euler_maruyama", "heun"])
def test_batch_equals_batches_of_one(rule, method):
    """Norms are taken per sample: neighbours make no difference, for a nonlinear map either."""
    problem, streams = quadratic_problem(), Streams(5, "sampling")
    sampler = DPS(steps=12, rule=rule, solver=method)
    wide = sampler.init(problem, streams.at(0, 0))
    alone = [{"z": wide["z"][i : i + 1]} for i in range(0, 32, 5)]
    for k in range(1, 13):
        wide = sampler.step(problem, wide, k, streams.at(0, k))
        alone = [
            sampler.step(problem, state, k, RowStream(streams.at(0, k), 5 * j, 32))
            for j, state in enumerate(alone)
        ]
    assert torch.allclose(torch.cat([s["z"] for s in alone]), wide["z"][::5], atol=1e-10)


def test_last_move_has_the_length_of_a_step():
    problem = quadratic_problem()
    moved, unmoved = (
        DPS(steps=15, rule={"type": "unit_gradient", "step_length": 0.05, "move_after_last": last})
        for last in (True, False)
    )
    x, x_clean = (s.sample(problem, 32, Streams(2, "sampling")).flat for s in (moved, unmoved))
    assert torch.allclose((x - x_clean).norm(dim=-1), torch.full((32,), 0.05).double())


def test_frozen_scales_cancel_at_unit_length_alone():
    problem = quadratic_problem()

    def samples(**switches):
        rule = {"type": "unit_gradient", "step_length": 0.02, **switches}
        return DPS(steps=20, rule=rule).sample(problem, 32, Streams(2, "sampling")).flat

    old, new = samples(), samples(jacobian="frozen")
    assert torch.allclose(old, new, rtol=1e-9)
    old = samples(length="proportional")
    new = samples(length="proportional", jacobian="frozen")
    assert float((old - new).abs().max()) > 1e-4


def test_exact_derivative_stops_guiding_under_a_memorized_prior():
    """The Jacobian (a/s^2) Cov[x | z] vanishes with the weights of all atoms but one."""
    atoms = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([0.0, 2.0], dtype=torch.float64)
    problem = InverseProblem(
        EmpiricalGMM(bandwidth=0.0).fit(atoms), Quadratic2D(), GaussianNoise(0.1), y
    )
    distance = {}
    for jacobian in ("frozen", "exact"):
        rule = {
            "type": "unit_gradient",
            "jacobian": jacobian,
            "second_call": "new_level",
            "length": "proportional",
            "step_length": 0.05,
            "move_after_last": False,
        }
        sampler = DPS(steps=100, rule=rule, final="stop", t_min=0.02)
        x = sampler.sample(problem, 64, Streams(0, "sampling")).flat
        distance[jacobian] = float((x[:, None] - atoms).norm(dim=-1).amin(-1).mean())
    # s(0.02)/a is about 0.09: with the exact derivative the atoms are reached to that accuracy
    assert distance["exact"] < 0.15 < 2 * distance["exact"] < distance["frozen"]


TABLE = {  # y: rule: (spread at t = .6 .4 .3 .2 .1 .05, masses), from 200 000 particles
    -1.8: {
        "gaussian": ((0.603, 0.600, 0.573, 0.483, 0.297, 0.160), (1.0, 0.0, 0.0)),
        "residual_norm": ((0.842, 0.584, 0.533, 0.449, 0.291, 0.159), (1.0, 0.0, 0.0)),
    },
    -1.0: {
        "gaussian": ((0.565, 0.389, 0.305, 0.220, 0.267, 0.339), (0.9571, 0.0429, 0.0)),
        "residual_norm": ((0.701, 0.219, 0.177, 0.158, 0.421, 0.700), (0.7988, 0.2012, 0.0)),
    },
}


@pytest.mark.parametrize("y", TABLE)
@pytest.mark.parametrize("rule", ["gaussian", "residual_norm"])
def test_three_atoms_as_tabulated(y, rule):
    """Spreads of x_t | y and final masses of Burns & Fridovich-Keil's example, zeta = 0.3."""
    problem, n = atoms_problem(y), 10_000
    sampler = DPS(
        schedule=VariancePreserving(),
        steps=500,
        solver="euler_maruyama",
        t_min=0.01,
        start="standard_normal",
        final="stop",
        save=(0.6, 0.4, 0.3, 0.2, 0.1, 0.05),
        rule=ResidualNorm(zeta=0.3) if rule == "residual_norm" else rule,
    )
    kept = states(sampler, problem, wide_start(sampler, problem, n))
    end = kept[sampler.n_steps]
    spread, masses = TABLE[y][rule]
    found = torch.stack([kept[k]["z"].std(0)[0] for k in sampler.saved_steps])
    assert torch.allclose(found, torch.tensor(spread).double(), atol=0.02)
    nearest = (end["z"] - problem.prior.means.T).abs().argmin(-1)
    found = torch.bincount(nearest, minlength=3) / n
    assert torch.allclose(found, torch.tensor(masses), atol=0.02)


def test_rules_are_given_by_name_or_in_full():
    assert DPS(rule="unit_gradient").rule == UnitGradient()
    assert DPS(rule={"type": "residual_norm", "zeta": 0.3}).rule == ResidualNorm(zeta=0.3)
    assert DPS.model_validate(DPS(rule="unit_gradient").model_dump()) == DPS(rule="unit_gradient")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("zeta", "No guidance has this name"),
        ({"type": "gaussian", "zeta": 1.0}, "Unknown name"),
        ({"type": "residual_norm", "zeta": -1.0}, "greater than 0"),
        ({"type": "unit_gradient", "jacobian": "adjoint"}, "Input should be"),
    ],
)
def test_unknown_rules_are_refused(rule, message):
    with pytest.raises(ValidationError, match=message):
        DPS(rule=rule)


class Clipped(Gaussian):
    """A guidance that is at most one long: a subclass that overrides it alone."""

    def likelihood_score(self, problem, at):
        score = super().likelihood_score(problem, at)
        return score / score.norm(dim=-1, keepdim=True).clamp(min=1)


class ClippedDPS(Clipped, GuidedSampler):
    """The same under a name of its own."""


def test_a_guidance_on_the_wrong_class_is_refused():
    with pytest.raises(TypeError, match="would not be asked"):

        class Silent(DPS):
            def likelihood_score(self, problem, at):
                return at.mean


def test_a_subclass_overrides_the_guidance_alone():
    problem = quadratic_problem()
    x = {
        sampler: sampler.sample(problem, 64, Streams(0, "sampling")).flat
        for sampler in (
            DPS(steps=100, solver="ddim"),
            DPS(rule=Clipped(), steps=100, solver="ddim"),
            ReverseDiffusion(steps=100),
        )
    }
    named = ClippedDPS(steps=100).sample(problem, 64, Streams(0, "sampling")).flat
    assert torch.equal(named, list(x.values())[1])
    full, clipped, prior = (float(problem.whitened_residual(v).square().mean()) for v in x.values())
    assert full < 0.5 * clipped < 0.25 * prior
