"""What is kept of the reverse process besides its end: states at chosen levels.

    save: [0.6, 0.3]               z after the step that reaches each time
    save: {sigmas: [1.0, 0.1]}     the same for levels sigma = s/a of the schedule
    save: {dense: 200}             that many levels, equally spaced in log sigma

A solver with fixed steps gives the state after the step that reaches the level, an adaptive one the
state at the level itself. A `Trajectory` says which levels these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from jaxtyping import Float
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from mempost.core.level import NoiseLevel
from mempost.core.plugin import Recipe
from mempost.core.schedule import NoiseSchedule

Times = tuple[Annotated[float, Field(ge=0, lt=1)], ...]


class Save(Recipe):
    """Which states of the reverse process are kept; none by default."""

    times: Times = Field((), description="times of the schedule")
    sigmas: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="levels sigma = s/a, in the order in which they are kept"
    )
    dense: int | None = Field(
        None, ge=2, description="number of levels, equally spaced in log sigma, the ends included"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum((bool(self.times), bool(self.sigmas), self.dense is not None)) > 1:
            raise ValueError("give one of times, sigmas and dense")
        return self

    def times_of(self, schedule: NoiseSchedule, t_min: float) -> tuple[float, ...]:
        """The times at which states are kept.

        Raises:
            ValueError: a level lies outside of the schedule.
        """
        if self.dense is not None:
            top, bottom = (float(schedule.sigma(t)) for t in (1.0, t_min))
            inner = np.geomspace(top, bottom, self.dense)[1:-1]
            return (1.0, *(schedule.time_of(float(sigma)) for sigma in inner), t_min)
        return self.times or tuple(schedule.time_of(sigma) for sigma in self.sigmas)


def _times(value: Any) -> Any:
    return {"times": value} if isinstance(value, list | tuple) else value


SaveForm = Annotated[Save, BeforeValidator(_times, json_schema_input_type=Times | Save)]
"""The word ``save`` of a sampler: a list of times, or a mapping."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """States z (chain, draw, level, d) at the levels z = a x + s e.

    Attributes:
        t: times that were asked for, (level,).
        a: scale of the level at which the state really is, (level,).
        s: its noise; 0 for the clean level.
        step: steps done until then (0 is the start); in an adaptive solver its legs.
        z: the states.
    """

    t: Float[Tensor, " level"]
    a: Float[Tensor, " level"]
    s: Float[Tensor, " level"]
    step: Float[Tensor, " level"]
    z: Float[Tensor, "chain draw level d"]

    def __len__(self) -> int:
        return len(self.t)

    def level(self, i: int) -> NoiseLevel:
        """The noise level of the i-th state."""
        return NoiseLevel(float(self.a[i]), float(self.s[i]))

    def states(self, i: int) -> Float[Tensor, "n d"]:
        """The i-th states of all draws of all chains, (chain * draw, d)."""
        return self.z[:, :, i].flatten(0, 1)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        return {"t": self.t, "a": self.a, "s": self.s, "step": self.step, "z": self.z}

    def with_states(self, z: Float[Tensor, "chain draw level d"]) -> Trajectory:
        """The same levels with other states."""
        return Trajectory(self.t, self.a, self.s, self.step, z)
