"""Samplers that estimate x from z_t and the data, and put noise back on it.

    x  is an estimate or a draw, from z at the level (a, s),
    z' = a' x + s' (sqrt(1 - eta^2) e + eta n),        e = (z - a x)/s,   n ~ N(0, I)

at the next level (a', s'); the last step gives z' = x. With eta = 0 the old noise is kept, as in
DDIM; with eta = 1 it is all new and z' depends on z through x alone.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.problem import InverseProblem
from mempost.core.reverse import ReverseProcess
from mempost.core.sampler import require_finite
from mempost.core.solver import Step
from mempost.core.streams import Stream


class RenoisingSampler(ReverseProcess):
    """Base of methods that go from z to x and back; authors override ``estimate``."""

    eta: float = Field(1.0, ge=0, le=1, description="share of new noise: 0 keeps the old, 1 none")

    @abstractmethod
    def estimate(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        """x from z at ``step.level`` and the data."""

    def move(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        x = require_finite(self.estimate(problem, z, step, stream), "estimate of x")
        if step.is_clean:
            return x
        noise = stream.normal(tuple(z.shape), z.dtype, z.device)
        e = (z - step.level.a * x) / step.level.s
        mixed = math.sqrt(1 - self.eta**2) * e + self.eta * noise
        return step.next_level.a * x + step.next_level.s * mixed
