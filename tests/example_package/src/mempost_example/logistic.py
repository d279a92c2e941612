"""A logistic path: log sigma is linear in time and a^2 = 1/(1 + sigma^2)."""

import math

import torch
from pydantic import Field

from mempost import NoiseLevel, NoiseSchedule


class Logistic(NoiseSchedule):
    """Variance preserving, the signal-to-noise ratio geometric in time."""

    sigma_min: float = Field(0.02, gt=0)
    sigma_max: float = Field(30.0, gt=0)

    @property
    def rate(self):
        return math.log(self.sigma_max / self.sigma_min)

    def sigma(self, t):
        return self.sigma_min * torch.exp(self.rate * torch.as_tensor(t, dtype=torch.float64))

    def level(self, t):
        sigma = self.sigma(t)
        return NoiseLevel(1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt())

    def drift(self, t):
        return -self.rate * self.sigma(t) ** 2 / (1 + self.sigma(t) ** 2)

    def diffusion_squared(self, t):
        return -2 * self.drift(t)
