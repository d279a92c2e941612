"""Variance preserving with rates that are linear in time (Song et al. 2021)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mempost.core.publication import Publication
from mempost.core.schedule import PreservingSchedule
from mempost.methods.bibliography import SONG_2021_SCORE


class VariancePreserving(PreservingSchedule):
    """abar = exp(-b0 t - (b1 - b0) t^2 / 2): rates linear in time (Song et al. 2021)."""

    publications: ClassVar[tuple[Publication, ...]] = (SONG_2021_SCORE,)
    beta_min: float = Field(0.01, ge=0)
    beta_max: float = Field(20.0, gt=0)

    def log_abar(self, t: Tensor) -> Tensor:
        return -self.beta_min * t - (self.beta_max - self.beta_min) * t**2 / 2

    def log_abar_rate(self, t: Tensor) -> Tensor:
        return -self.beta_min - (self.beta_max - self.beta_min) * t
