"""Schedules: noise levels z_t = a(t) x + s(t) e as functions of time t in [0, 1].

The forward process is dz = f z dt + g dW with

    f(t) = d log a / dt,        g^2(t) = d s^2 / dt - 2 f s^2,

and a schedule owns these rates next to the levels, in closed form. Time runs uniformly: a schedule
that spaces its levels differently (EDM's rho) says so through s(t). a is positive at every t, also
at t = 1, and sigma = s/a grows with t: samplers work with u = z/a.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from mempost.core.level import NoiseLevel
from mempost.core.plugin import Plugin

Time = float | Tensor


class NoiseSchedule(Plugin, ABC):
    """a(t), s(t) and their rates for a time or one per sample, in float64."""

    @abstractmethod
    def level(self, t: Time) -> NoiseLevel:
        """(a(t), s(t)), of the shape of t."""

    @abstractmethod
    def drift(self, t: Time) -> Tensor:
        """f(t) = d log a / dt."""

    @abstractmethod
    def diffusion_squared(self, t: Time) -> Tensor:
        """g^2(t) = d s^2 / dt - 2 f s^2."""

    @property
    def first_time(self) -> float:
        """The earliest time with noise, where training starts: 0, or 1e-3 if s(0) = 0."""
        return 0.0 if float(self.level(0.0).s) > 0 else 1e-3

    def sigma(self, t: Time) -> Tensor:
        """s(t)/a(t), which rises with t."""
        level = self.level(t)
        return torch.as_tensor(level.s) / torch.as_tensor(level.a)

    def time_of(self, sigma: float) -> float:
        """The time at which s/a is ``sigma``, by bisection to rounding.

        Raises:
            ValueError: the level lies outside of the schedule.
        """
        low, high = (float(self.sigma(t)) for t in (0.0, 1.0))
        if not low * (1 - 1e-9) <= sigma <= high * (1 + 1e-9):
            raise ValueError(
                f"the level sigma = {sigma:g} is outside of the schedule, which runs from {low:g} "
                f"to {high:g}"
            )
        start, end = 0.0, 1.0
        for _ in range(60):
            middle = (start + end) / 2
            start, end = (start, middle) if float(self.sigma(middle)) >= sigma else (middle, end)
        return end

    def times(self, steps: int, t_min: float = 0.0) -> Float[Tensor, " steps+1"]:
        """Decreasing times 1 = t_0 > ... > t_steps = t_min, equally spaced."""
        return torch.linspace(1.0, t_min, steps + 1, dtype=torch.float64)


def as_time(t: Time) -> Tensor:
    """Times as a float64 tensor."""
    return torch.as_tensor(t, dtype=torch.float64)


def power_spaced(t: Time, low: float, high: float, rho: float = 7.0) -> Tensor:
    """Levels from ``low`` at t = 0 to ``high`` at t = 1 whose power 1/rho is linear in t.

    Karras, Aittala, Aila & Laine 2022, equation 5.
    """
    root_low, root_high = low ** (1 / rho), high ** (1 / rho)
    return (root_low + as_time(t) * (root_high - root_low)) ** rho


class ExplodingSchedule(NoiseSchedule):
    """a = 1, so that f = 0; s rises from sigma_min to sigma_max."""

    sigma_min: float
    sigma_max: float

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min is {self.sigma_min:g}; allowed are values below sigma_max = "
                f"{self.sigma_max:g}"
            )
        return self

    @abstractmethod
    def std(self, t: Tensor) -> Tensor:
        """s(t)."""

    def level(self, t: Time) -> NoiseLevel:
        sigma = self.std(as_time(t))
        return NoiseLevel(torch.ones_like(sigma), sigma)

    def drift(self, t: Time) -> Tensor:
        return torch.zeros_like(as_time(t))


class PreservingSchedule(NoiseSchedule):
    """a^2 + s^2 = 1, given log a^2 and its rate: f = rate / 2, g^2 = -rate."""

    @abstractmethod
    def log_abar(self, t: Tensor) -> Tensor:
        """log a^2(t)."""

    @abstractmethod
    def log_abar_rate(self, t: Tensor) -> Tensor:
        """d log a^2 / dt."""

    def level(self, t: Time) -> NoiseLevel:
        log_abar = self.log_abar(as_time(t))
        return NoiseLevel(torch.exp(log_abar / 2), torch.sqrt(-torch.expm1(log_abar)))

    def drift(self, t: Time) -> Tensor:
        return self.log_abar_rate(as_time(t)) / 2

    def diffusion_squared(self, t: Time) -> Tensor:
        return -self.log_abar_rate(as_time(t))
