"""Misfit along the reverse process, from the particles that a sampler has traced.

At a traced time the state is z = a x + s e. What the sampler then takes for clean is E[x | z], and

    chi^2 per datum at t = |y - F(E[x | z_t])|^2 / (noise variance, m)

says how far the data have been fitted by then (Siahkoohi & Sabeddu 2026 record it every ten steps
over four samples). The denoiser is that of the sampler's own prior.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.result import Result
from mempost.core.reverse import ReverseSampler
from mempost.plugins.metrics.per_draw import chi_squared


class TracedMisfit(NamedTuple):
    """Steps done (from 1) and misfit of every particle after them, (times, particles)."""

    steps: list[int]
    values: Float[Tensor, "times particles"]


@torch.no_grad()
def traced_misfit(result: Result, particles: int) -> TracedMisfit | None:
    """Misfit of the first particles at the times that a reverse sampler traces, by rising step.

    None if the sampler traces none, or is not a reverse process.
    """
    sampler, problem = result.sampler, result.problem
    if not isinstance(sampler, ReverseSampler) or not sampler.trace:
        return None
    trace = result.samples.stats["trace"][0, :particles]
    found: dict[int, Tensor] = {}
    for i, step in enumerate(sampler.traced_steps):
        z = trace[:, i]
        x = z if step.is_clean else problem.prior.denoise(z, step.next_level)
        found[sampler.reverse_steps.index(step) + 1] = chi_squared(problem, x)
    steps = sorted(found)
    return TracedMisfit(steps, torch.stack([found[k] for k in steps]))
