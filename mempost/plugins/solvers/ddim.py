"""Euler's step of the flow, with as much new noise as is wanted (see `mempost.core.flow`)."""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core import flow
from mempost.core.flow import Denoise
from mempost.core.solver import FixedSolver, Step
from mempost.core.streams import Stream
from mempost.methods.bibliography import SONG_2021_DDIM


class DDIM(FixedSolver):
    """Euler's step of the probability flow, or with new noise up to ancestral sampling.

    Cost of a step: one denoiser call. Error: O(1/steps), for every ``eta``.
    """

    publications = (SONG_2021_DDIM,)

    eta: float = Field(
        0.0, ge=0, le=1, description="share of new noise: 0 is the flow, 1 ancestral sampling"
    )

    def step(
        self, denoise: Denoise, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        mean = denoise(z, step.level)
        if self.eta == 0:
            return flow.euler(z, mean, step.level, step.next_level)
        noise = stream.normal(tuple(z.shape), z.dtype, z.device)
        return flow.ancestral(z, mean, step.level, step.next_level, self.eta, noise)
