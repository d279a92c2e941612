"""Variance exploding: a = 1, and log s is linear in time (Song et al. 2021)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mempost.core.publication import Publication
from mempost.core.schedule import ExplodingSchedule, Time, as_time
from mempost.methods.bibliography import SONG_2021_SCORE


class VarianceExploding(ExplodingSchedule):
    """a = 1, s = sigma_min (sigma_max / sigma_min)^t (Song et al. 2021)."""

    publications: ClassVar[tuple[Publication, ...]] = (SONG_2021_SCORE,)
    sigma_min: float = Field(0.01, gt=0)
    sigma_max: float = Field(50.0, gt=0)

    def std(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(t * math.log(self.sigma_max / self.sigma_min))

    def diffusion_squared(self, t: Time) -> Tensor:
        return 2 * math.log(self.sigma_max / self.sigma_min) * self.std(as_time(t)) ** 2
