"""Draws of a prior that is known by its denoiser alone: ends of its own probability flow.

A regularised prior stands on another one. Its draws start from that one's, noised at ``sigma_max``,

    u = x + sigma_max e,        x from the base,

follow du/dsigma = (u - D(u))/sigma under the regularised denoiser by Heun's method, and end with
the denoiser at ``sigma_min``. Levels are spaced as in Karras et al. 2022: seventh roots are
equally spaced.

Reference: Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based
generative models" (algorithm 1).
"""

from __future__ import annotations

from typing import Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core import flow
from mempost.core.level import NoiseLevel
from mempost.core.plugin import Recipe
from mempost.core.prior import FittedPrior
from mempost.core.schedule import power_spaced
from mempost.core.streams import Stream


class FlowDraws(Recipe):
    """The noise levels along which draws follow the flow."""

    sigma_max: float = Field(80.0, gt=0, description="level at which draws of the base are noised")
    sigma_min: float = Field(0.002, gt=0, description="the last noisy level")
    steps: int = Field(40, ge=1, description="steps of Heun's method, two calls each")

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if not self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min is {self.sigma_min:g}; allowed are values below sigma_max = "
                f"{self.sigma_max:g}"
            )
        return self

    @property
    def calls(self) -> int:
        """Denoiser calls of the flow."""
        return 2 * self.steps + 1

    def draw(
        self, prior: FittedPrior, base: FittedPrior, stream: Stream
    ) -> Float[Tensor, "tile d"]:
        """Ends of the flow of ``prior`` from noised draws of ``base``."""
        t = torch.linspace(1.0, 0.0, self.steps + 1, dtype=torch.float64)
        levels = [NoiseLevel(1.0, s) for s in power_spaced(t, self.sigma_min, self.sigma_max)]
        levels = [NoiseLevel(1.0, float(level.s)) for level in levels]
        with torch.no_grad():
            u = levels[0].perturb(base.draw_tile(stream), stream)
            return flow.descend(prior.denoise, u, levels, order=2)
