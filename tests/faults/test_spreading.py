"""Failures stay where they are: chains that nobody asked for, proposals, draws beyond the prior."""

from __future__ import annotations

import math

import pytest
import torch
from small_study import SPEC

import mempost
from mempost.core.errors import NonFiniteError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.iterative import IterativeSampler
from mempost.core.operator import ForwardOperator
from mempost.core.problem import InverseProblem
from mempost.core.streams import RepeatedRows, Streams
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.samplers.annealed_langevin import AnnealedLangevin
from mempost.plugins.samplers.daps import DAPS
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.importance import Importance
from mempost.plugins.samplers.mala import MALA
from mempost.plugins.samplers.pcn import PCN
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.samplers.smc import SMC
from mempost.plugins.samplers.ula import ULA

FIGURE_1 = {
    "data": {"type": "points", "values": [[-1.5], [-0.4], [0.4], [1.2], [2.5]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.1},
    "operator": {"type": "polynomial", "coefficients": [0, 1, 0, 0.3]},
}


def figure_1(bandwidth: float = 0.1) -> InverseProblem:
    points = torch.tensor(FIGURE_1["data"]["values"], dtype=torch.float64)
    prior = EmpiricalGMM(bandwidth=bandwidth).fit(points)
    operator = Polynomial(coefficients=[0, 1, 0, 0.3])
    return InverseProblem(prior, operator, GaussianNoise(0.3), torch.zeros(1).double())


# -- chains that only fill a tile -----------------------------------------------------------------

LONG = ULA(step_size=0.01, warmup=40, draws=4, thin=2)


def test_the_fate_of_the_chain_that_was_asked_for_decides():
    """Eight seeds, one chain: the first chain of seed 4 diverges, and the others' tile mates do."""
    problem = figure_1()
    for seed in range(8):
        streams = Streams(seed, "sampling")
        with pytest.raises(NonFiniteError, match="gradient is not finite at step"):
            LONG.sample(problem, 32, streams)
        if seed == 4:
            with pytest.raises(NonFiniteError, match=r"step 5, sample 0; take a smaller step_size"):
                LONG.sample(problem, 1, streams)
        else:
            assert torch.isfinite(LONG.sample(problem, 1, streams).values).all()


def test_a_run_with_one_chain_is_ok(tmp_path):
    chain = {"type": "ula", "step_size": 0.01, "warmup": 40, "draws": 4, "thin": 2}
    spec = {**SPEC, **FIGURE_1, "samplers": {"ula": chain}, "samples": 1}
    study = mempost.run({**spec, "sweep": {"seed": [3, 4]}}, out=tmp_path)
    assert study.table.status.tolist() == ["ok", "failed"]


@pytest.mark.parametrize(
    "sampler",
    [
        MALA(warmup=4, draws=3, thin=1, preconditioner="gauss_newton"),
        DPS(steps=5, solver="euler_maruyama", rule="gauss_newton"),
        DAPS(steps=4, langevin_steps=3),
        AnnealedLangevin(levels=2, steps_per_level=3),
        ReverseDiffusion(steps=4, solver={"type": "ddim", "eta": 1.0}, tile=64),
        ReverseDiffusion(steps=4, start={"type": "points", "values": [[i] for i in range(50)]}),
    ],
    ids=lambda s: type(s).__name__,
)
def test_the_rows_asked_for_do_not_depend_on_how_many_are(sampler):
    """And the others repeat them, so that nothing else can go wrong in them."""
    problem, streams = figure_1(0.5), Streams(2, "sampling")
    whole = sampler.sample_tile(problem, 1, streams).values
    for rows in (1, 5, sampler.tile_size - 1):
        part = sampler.sample_rows(problem, 1, rows, streams).values
        assert torch.equal(part[:rows], whole[:rows])
        assert torch.equal(part, part[torch.arange(len(part)) % rows])


def test_repeated_rows_leave_other_draws_alone():
    streams = Streams(0, "sampling")
    stream, plain = RepeatedRows(streams.at(), 3, 32), streams.at()
    for draw in (
        lambda s: s.normal((32, 2)),
        lambda s: s.uniform((32,)),
        lambda s: s.integers(9, (32,)),
        lambda s: s.categorical(torch.ones(4), 32),
    ):
        found, expected = draw(stream), draw(plain)
        assert torch.equal(found, expected[torch.arange(32) % 3])
    assert torch.equal(stream.normal((5, 2)), plain.normal((5, 2)))
    assert torch.equal(stream.permutation(32), plain.permutation(32))


# -- proposals that are not finite ----------------------------------------------------------------


class Bounded(ForwardOperator):
    """F(x) = x where |x| < bound, and no number beyond."""

    bound: float = 1.0

    def range_shape(self, domain_shape):
        return domain_shape

    def forward(self, x):
        return x + torch.where(x.abs() < self.bound, 0.0, torch.nan)


BOUND = 0.35


@pytest.mark.parametrize(
    "sampler",
    [
        MALA(step_size=0.5, warmup=50, draws=150, thin=2),
        PCN(warmup=50, draws=150, thin=2),
        SMC(particles=256),
        Importance(population=256),
    ],
    ids=lambda s: type(s).__name__,
)
def test_a_proposal_that_is_not_finite_is_rejected(sampler):
    """What is left is the posterior where F is a number: a truncated normal."""
    prior = Gaussian(mean=[0.0], covariance=[0.04]).fit()
    y = torch.tensor([0.15], dtype=torch.float64)
    problem = InverseProblem(prior, Bounded(bound=BOUND), GaussianNoise(0.15), y)
    grid = torch.linspace(-BOUND, BOUND, 4001, dtype=torch.float64)
    mean = float((-(grid**2) / 0.08 - (0.15 - grid) ** 2 / 0.045).softmax(0) @ grid)
    means = []
    for seed in range(8):  # a chain's first draw of the prior lies within the bound
        streams = Streams(seed, "sampling")
        n = 1 if isinstance(sampler, IterativeSampler) else 256
        x = sampler.sample(problem, n, streams).values
        assert torch.isfinite(x).all() and float(x.abs().max()) < BOUND
        means.append(float(x.mean()))
    error = float(torch.tensor(means).std()) / math.sqrt(8)
    assert abs(sum(means) / 8 - mean) < 4 * error < 0.06


def test_a_start_that_is_not_finite_is_named():
    """What was asked for cannot be rejected: there is nowhere to stay."""
    prior = Gaussian(mean=[5.0], covariance=[0.04]).fit()
    problem = InverseProblem(prior, Bounded(), GaussianNoise(0.15), torch.zeros(1).double())
    for sampler, name in ((MALA(), "log_density"), (PCN(), "log_likelihood"), (SMC(), "log_like")):
        with pytest.raises(NonFiniteError, match=f"{name}.* is not finite at step 0, sample 0"):
            sampler.sample(problem, 4, Streams(0, "sampling"))


# -- divergence -----------------------------------------------------------------------------------

STIFF = {
    **SPEC,
    "data": None,
    "prior": {"type": "gaussian", "mean": [0.5], "covariance": [1.0]},
    "operator": {"type": "linear", "matrix": [[10.0]]},
    "noise": {"std": 0.5},
    "observation": {"values": [9.0]},
    "samples": 8,
}


@pytest.mark.parametrize(
    ("sampler", "remedy"),
    [
        ({"type": "dps", "steps": 200}, "take more steps, or a guidance that cannot overshoot"),
        ({"type": "dps", "steps": 40}, "take more steps, or a guidance that cannot overshoot"),
        ({"type": "dps", "rule": {"type": "published", "zeta": 999.0}}, "take a smaller zeta"),
        ({"type": "ula", "step_size": 0.1, "warmup": 500}, "take a smaller step_size, or mala"),
        ({"type": "ula", "step_size": 0.006, "warmup": 30}, "take a smaller step_size, or mala"),
        ({"type": "daps", "gain": 0.1, "steps": 20}, "take a smaller step_size, or a gain above"),
        ({"type": "annealed_langevin", "gain": 1.0, "levels": 4}, "or a gain above the norm"),
    ],
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else None,
)
def test_divergence_is_an_error_with_a_remedy(sampler, remedy, tmp_path):
    """Whether it has come to infinity yet, or is finite and means nothing."""
    study = mempost.run({**STIFF, "samplers": {"it": sampler}}, out=tmp_path)
    (status,) = study.statuses
    assert status.state == "failed" and remedy in status.reason
    assert "is not finite at step" in status.reason or "times farther out" in status.reason


def test_what_the_prior_can_give_is_no_divergence(tmp_path):
    """Data that ask for eight standard deviations, a prior far from 0, and one of a single atom."""
    far = {**STIFF, "observation": {"values": [80.0]}, "samplers": {"it": {"type": "exact_lgm"}}}
    for prior in (
        STIFF["prior"],
        {"type": "gaussian", "mean": [1e6], "covariance": [1e-6]},
        {"type": "gaussian", "mean": [3.0], "covariance": [0.0]},
    ):
        assert mempost.run({**far, "prior": prior}, out=tmp_path).ok
