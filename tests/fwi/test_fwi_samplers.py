"""Both rules of the study: the same draws at complex64, finite to the end; a NaN stops them."""

from __future__ import annotations

import pytest
import torch
from fwi_problems import wave_problem

from mempost.core.errors import NonFiniteError
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.guidance.unit_gradient import UnitGradient
from mempost.plugins.priors.learned_score import LearnedScore
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.gauss_newton_dps import GaussNewtonDPS
from mempost.plugins.schedules.ve import VarianceExploding
from mempost.plugins.schedules.vp_discrete import DiscreteVariancePreserving

PAPER = DPS(
    rule=UnitGradient(step_length=0.2),
    schedule=DiscreteVariancePreserving(),
    steps=10,
    t_min=0.1,
    start="standard_normal",
)
GAUSS_NEWTON = GaussNewtonDPS(
    linearisation="jacobian",
    schedule=VarianceExploding(sigma_min=0.05, sigma_max=20),
    steps=8,
    t_min=0.0,
    start="noise",
)
RULES = pytest.mark.parametrize("sampler", [PAPER, GAUSS_NEWTON], ids=["paper", "gauss_newton"])


@RULES
def test_single_precision_gives_the_same_draws(sampler):
    draws = []
    for dtype in (torch.float64, torch.float32):
        problem = wave_problem(dtype=dtype, bandwidth=0.3)[0]
        assert problem.y.dtype == (torch.complex64 if dtype == torch.float32 else torch.complex128)
        x = sampler.sample(problem, 32, Streams(3, "sampling")).flat
        assert x.dtype == dtype and torch.isfinite(x).all()
        draws.append(x.double())
    # chaotic rows may part; most of them agree
    error = (draws[0] - draws[1]).abs().amax(1)
    assert float(error.median()) < 2e-3


def test_a_nan_in_the_data_is_named():
    problem = wave_problem(dtype=torch.float32)[0]
    y = problem.y.clone()
    y[0, 0, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"datum \[0, 0, 1\] of y is not finite"):
        problem.with_data(y)


@RULES
def test_a_nan_in_the_network_stops_with_step_sample_and_quantity(sampler):
    problem, data, _ = wave_problem(dtype=torch.float32)
    settings = {"network": {"type": "residual_mlp", "width": 16, "blocks": 1, "embedding": 8}}
    raw = problem.prior.coordinates.to_raw(data.train)
    prior = LearnedScore(standardise=True, steps=5, batch=16, **settings).fit(raw)
    answer = prior._denoise

    def broken(z, a, s):  # row 7 fails once the noise has fallen
        spoiled = torch.zeros_like(z)
        spoiled[7] = torch.where((s / a).flatten()[0] < 1.0, torch.nan, 0.0)
        return answer(z, a, s) + spoiled

    prior._denoise = broken
    broken_problem = InverseProblem(prior, problem.operator, problem.noise, problem.y)
    with pytest.raises(NonFiniteError) as caught:
        sampler.sample(broken_problem, 32, Streams(3, "sampling"))
    error = caught.value
    levels = [step.level for step in sampler.reverse_steps]
    first = 1 + next(k for k, level in enumerate(levels) if _ratio(level) < 1.0)
    assert (error.step, error.sample) == (first, 7)
    assert torch.isfinite(error.state["z"]).all()


def _ratio(level: NoiseLevel) -> float:
    return float(level.s) / float(level.a)
