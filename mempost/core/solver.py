"""Solvers: what moves z from noise level to noise level, under any denoiser.

The reverse process runs over the steps of a schedule, from t = 1 down to the last noisy level, and,
if the end is to be denoised, from there to the clean one. A solver is given E[x | z] or E[x | z, y]
as a function of state and level, and knows nothing of priors, operators and data. There are two
kinds: `Solver` makes one step at a time, and `AdaptiveSolver` chooses its own steps between levels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.flow import Denoise
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.plugin import Plugin
from mempost.core.schedule import NoiseSchedule
from mempost.core.streams import Stream

Final = Literal["denoise", "stop"]


class Step(NamedTuple):
    """A step of the reverse process from time ``t`` to ``t_next`` (0 for the clean level).

    ``drift`` and ``diffusion_squared`` are f and g^2 of dz = f z dt + g dW at t.
    """

    t: float
    t_next: float
    level: NoiseLevel
    next_level: NoiseLevel
    drift: float
    diffusion_squared: float

    @property
    def is_clean(self) -> bool:
        """Whether the step leads to the clean level, z = x."""
        return self.next_level is CLEAN

    def reaches(self, t: float) -> bool:
        """Whether t lies in the step, its end included."""
        return self.t_next <= t + 1e-9 < self.t


@lru_cache(maxsize=64)
def reverse_steps(
    schedule: NoiseSchedule, steps: int, t_min: float, final: Final
) -> tuple[Step, ...]:
    """The steps from t = 1 down, equally spaced in time; ``denoise`` ends with t_min -> clean."""
    clean = final == "denoise"
    t = schedule.times(steps - clean, t_min)
    level, f, g2 = schedule.level(t), schedule.drift(t), schedule.diffusion_squared(t)
    levels = [
        NoiseLevel(a, s)
        for a, s in zip(torch.as_tensor(level.a).tolist(), torch.as_tensor(level.s).tolist())
    ]
    times = t.tolist()
    if clean:
        times, levels = [*times, 0.0], [*levels, CLEAN]
    return tuple(
        Step(times[k], times[k + 1], levels[k], levels[k + 1], float(f[k]), float(g2[k]))
        for k in range(steps)
    )


class Solver(Plugin, ABC):
    """What moves z down the noise levels: a `FixedSolver` or an `AdaptiveSolver`."""


class FixedSolver(Solver):
    """One step after the other; authors override ``step``, and ``calls`` if it is not one a step.

    Row i of the new state comes from row i of the old one and row i of its draws.
    """

    @abstractmethod
    def step(
        self, denoise: Denoise, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        """z at ``step.next_level`` (s > 0) from z at ``step.level``."""

    def calls(self, step: Step) -> int:
        """Denoiser calls of a step that does not lead to the clean level."""
        return 1


class AdaptiveSolver(Solver):
    """Steps chosen by the error of every row; authors override ``integrate``.

    A row makes the steps that it would make alone.
    """

    @abstractmethod
    def integrate(
        self,
        denoise: Denoise,
        z: Float[Tensor, "batch d"],
        level: NoiseLevel,
        targets: Sequence[NoiseLevel],
    ) -> list[Float[Tensor, "batch d"]]:
        """z at every level of ``targets``, whose s/a falls, from z at ``level``."""
