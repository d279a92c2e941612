"""The cosine schedule, with a finite last level (Nichol & Dhariwal 2021)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mempost.core.publication import Publication
from mempost.core.schedule import PreservingSchedule
from mempost.methods.bibliography import NICHOL_2021_IMPROVED


class Cosine(PreservingSchedule):
    """abar = cos^2(phi(t)) / cos^2(phi(0)), phi = (pi/2)(t + c)/(1 + c) (Nichol & Dhariwal 2021).

    The end is cut at log abar = ``log_abar_min``, by a shorter run of the angle, so that every
    level is finite.
    """

    publications: ClassVar[tuple[Publication, ...]] = (NICHOL_2021_IMPROVED,)
    offset: float = Field(0.008, ge=0, lt=1)
    log_abar_min: float = Field(-12.0, lt=0)

    def _angle(self, t: Tensor) -> tuple[Tensor, float, float]:
        start = 0.5 * math.pi * self.offset / (1 + self.offset)
        end = math.acos(math.exp(self.log_abar_min / 2) * math.cos(start))
        return start + t * (end - start), start, end

    def log_abar(self, t: Tensor) -> Tensor:
        angle, start, _ = self._angle(t)
        log_abar = 2 * (torch.log(torch.cos(angle)) - math.log(math.cos(start)))
        return log_abar.clamp(max=0)  # at t = 0 it is 0 to rounding, of either sign

    def log_abar_rate(self, t: Tensor) -> Tensor:
        angle, start, end = self._angle(t)
        return -2 * torch.tan(angle) * (end - start)
