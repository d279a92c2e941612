"""Checks of samplers that iterate: progress, divergence, resumption, denoiser calls."""

from __future__ import annotations

import copy

from torch import Tensor

from mempost.core.errors import NonFiniteError
from mempost.core.iterative import IterativeSampler
from mempost.core.problem import InverseProblem
from mempost.testing.check import NotApplicable
from mempost.testing.checks.probes import Faulty
from mempost.testing.checks.samplers import CHECKS, STREAMS, SamplerCase
from mempost.testing.comparison import require, require_equal


@CHECKS.add()
def progress_reported(case: SamplerCase) -> None:
    """Progress does not rise to its total, or is never reported."""
    _, seen, _ = case.recorded
    require(bool(seen), "progress was not called.")
    require(seen == sorted(seen), "The steps done went backwards.")
    require(seen[-1][0] == seen[-1][1], f"The last call was {seen[-1][0]} of {seen[-1][1]}.")


@CHECKS.add()
def divergence_named(case: SamplerCase) -> None:
    """What turns NaN is no NonFiniteError of its step and sample, and no chain rejects it."""
    if not isinstance(case.plugin, IterativeSampler) or "interacting" in case.tags:
        raise NotApplicable("the sampler is no IterativeSampler of independent samples")
    prior, (inner, noise, y) = case.problem.prior, case.problem.asked
    operator = Faulty(inner=inner, row=5, after=1)
    try:
        chain = case.rows(case.run(problem=InverseProblem(prior, operator, noise, y)))[5]
    except NonFiniteError as error:
        require(error.step is not None, "The error names no step.")
        require(error.sample == 5, f"The error names sample {error.sample}, it was 5.")
        return
    if not operator.triggered:
        raise NotApplicable("the sampler does not ask for the forward map")
    rejected = len(chain) > 1 and bool((chain == chain[0]).all())
    require(rejected, "F(x) of sample 5 was NaN, and samples were returned.")


@CHECKS.add()
def resume(case: SamplerCase) -> None:
    """An iteration resumed from a saved state does not go on as the straight run did."""
    sampler = case.plugin
    if not isinstance(sampler, IterativeSampler):
        raise NotApplicable("the sampler is no IterativeSampler")
    half = sampler.n_steps // 2
    saved: dict[str, Tensor] = {}
    original: dict[str, Tensor] = {}
    last = {}
    for k, state in sampler.trajectory(case.problem, 1, STREAMS):
        if k == half:
            original = dict(state)
            saved = {name: tensor.clone() for name, tensor in state.items()}
        last = dict(state)
    for name, tensor in original.items():
        require_equal(tensor, saved[name], f"state[{name!r}] after the steps that followed it")
    other, problem = copy.deepcopy(sampler), copy.deepcopy(case.problem)
    resumed = saved
    for _, state in other.trajectory(problem, 1, STREAMS, start=(half, saved)):
        resumed = dict(state)
    for name, tensor in last.items():
        require_equal(resumed[name], tensor, f"The last state[{name!r}], resumed at step {half}")


@CHECKS.add()
def denoiser_calls(case: SamplerCase) -> None:
    """The number of denoiser calls a sample is not the declared one (`nfe`)."""
    declared = case.plugin.nfe(case.problem.prior)
    if declared is None:
        raise NotApplicable("the sampler declares no number of denoiser calls")
    _, _, counts = case.recorded
    found = counts["denoiser_calls"] / case.tile_size
    require(found == declared, f"It makes {found:g} calls a sample and declares {declared}.")
