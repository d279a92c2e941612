"""Misfit along the reverse process, from the states that a sampler has kept.

At a level that is kept the state is z = a x + s e. What the sampler takes for clean is E[x | z],
and

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
from mempost.methods.statistics.per_draw import chi_squared


class TracedMisfit(NamedTuple):
    """Steps done (from 1) and misfit of every particle after them, (times, particles)."""

    steps: list[int]
    values: Float[Tensor, "times particles"]


@torch.no_grad()
def traced_misfit(result: Result, particles: int) -> TracedMisfit | None:
    """Misfit of the first particles at the levels that a reverse sampler keeps, by rising step.

    None if the sampler keeps none.
    """
    path, problem = result.samples.trajectory, result.problem
    if path is None:
        return None
    found: dict[int, Tensor] = {}
    for i, step in enumerate(path.step.tolist()):
        z, level = path.z[0, :particles, i], path.level(i)
        x = problem.prior.denoise(z, level) if level.s else z
        found[int(step)] = chi_squared(problem, x)
    steps = sorted(found)
    return TracedMisfit(steps, torch.stack([found[k] for k in steps]))
