"""Heun's step of the flow (see `mempost.core.flow`)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from mempost.core import flow
from mempost.core.flow import Denoise
from mempost.core.solver import FixedSolver, Step
from mempost.core.streams import Stream
from mempost.methods.bibliography import KARRAS_2022_EDM


class Heun(FixedSolver):
    """Heun's step of the probability flow: the slopes at both ends, averaged.

    Cost of a step: two denoiser calls. Error: O(1/steps^2).
    """

    publications = (KARRAS_2022_EDM,)

    def step(
        self, denoise: Denoise, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        return flow.heun(denoise, z, denoise(z, step.level), step.level, step.next_level)

    def calls(self, step: Step) -> int:
        return 2
