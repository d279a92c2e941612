"""The levels of EDM: a = 1, and s^(1/rho) is linear in time (Karras et al. 2022)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mempost.core.publication import Publication
from mempost.core.schedule import ExplodingSchedule, Time, as_time, power_spaced
from mempost.methods.bibliography import KARRAS_2022_EDM


class EDM(ExplodingSchedule):
    """a = 1, s^(1/rho) linear from sigma_min to sigma_max (Karras et al. 2022)."""

    publications: ClassVar[tuple[Publication, ...]] = (KARRAS_2022_EDM,)
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(80.0, gt=0)
    rho: float = Field(7.0, gt=0)

    def std(self, t: Tensor) -> Tensor:
        return power_spaced(t, self.sigma_min, self.sigma_max, self.rho)

    def diffusion_squared(self, t: Time) -> Tensor:
        slope = self.sigma_max ** (1 / self.rho) - self.sigma_min ** (1 / self.rho)
        return 2 * self.rho * slope * self.std(as_time(t)) ** (2 - 1 / self.rho)
