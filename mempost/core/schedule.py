"""Schedules: noise levels z_t = a(t) x + s(t) e as functions of time t in [0, 1].

The forward process is dz = f z dt + g dW with

    f(t) = d log a / dt,        g^2(t) = d s^2 / dt - 2 f s^2,

and a schedule owns these rates next to the levels, in closed form. Time runs uniformly: a schedule
that spaces its levels differently (EDM's rho) says so through s(t).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import Vector
from mempost.core.noise import NoiseLevel
from mempost.core.plugin import Recipe

Time = float | Tensor


class NoiseSchedule(Recipe, ABC):
    """a(t), s(t) and their rates for scalar or per-sample times, in float64."""

    @abstractmethod
    def level(self, t: Time) -> NoiseLevel:
        """(a(t), s(t))."""

    @abstractmethod
    def drift(self, t: Time) -> Tensor:
        """f(t) = d log a / dt."""

    @abstractmethod
    def diffusion_squared(self, t: Time) -> Tensor:
        """g^2(t) = d s^2 / dt - 2 f s^2."""

    def times(self, steps: int, t_min: float = 0.0) -> Float[Tensor, " steps+1"]:
        """Decreasing times 1 = t_0 > ... > t_steps = t_min, equally spaced."""
        return torch.linspace(1.0, t_min, steps + 1, dtype=torch.float64)


def _time(t: Time) -> Tensor:
    return torch.as_tensor(t, dtype=torch.float64)


class _Exploding(NoiseSchedule):
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
    def sigma(self, t: Time) -> Tensor:
        """s(t)."""

    def level(self, t: Time) -> NoiseLevel:
        sigma = self.sigma(t)
        return NoiseLevel(torch.ones_like(sigma), sigma)

    def drift(self, t: Time) -> Tensor:
        return torch.zeros_like(_time(t))


class VarianceExploding(_Exploding):
    """a = 1, s = sigma_min (sigma_max / sigma_min)^t (Song et al. 2021)."""

    type: Literal["ve"] = "ve"
    sigma_min: float = Field(0.01, gt=0)
    sigma_max: float = Field(50.0, gt=0)

    def sigma(self, t: Time) -> Tensor:
        return self.sigma_min * torch.exp(_time(t) * math.log(self.sigma_max / self.sigma_min))

    def diffusion_squared(self, t: Time) -> Tensor:
        return 2 * math.log(self.sigma_max / self.sigma_min) * self.sigma(t) ** 2


class EDM(_Exploding):
    """a = 1, s^(1/rho) linear from sigma_min to sigma_max (Karras et al. 2022)."""

    type: Literal["edm"] = "edm"
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(80.0, gt=0)
    rho: float = Field(7.0, gt=0)

    def _root(self, t: Time) -> tuple[Tensor, float]:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return low + _time(t) * (high - low), high - low

    def sigma(self, t: Time) -> Tensor:
        return self._root(t)[0] ** self.rho

    def diffusion_squared(self, t: Time) -> Tensor:
        root, slope = self._root(t)
        return 2 * self.rho * slope * root ** (2 * self.rho - 1)


class _Preserving(NoiseSchedule):
    """a^2 + s^2 = 1, given log a^2 and its rate: f = rate / 2, g^2 = -rate."""

    @abstractmethod
    def log_abar(self, t: Tensor) -> Tensor:
        """log a^2(t)."""

    @abstractmethod
    def log_abar_rate(self, t: Tensor) -> Tensor:
        """d log a^2 / dt."""

    def level(self, t: Time) -> NoiseLevel:
        log_abar = self.log_abar(_time(t))
        return NoiseLevel(torch.exp(log_abar / 2), torch.sqrt(-torch.expm1(log_abar)))

    def drift(self, t: Time) -> Tensor:
        return self.log_abar_rate(_time(t)) / 2

    def diffusion_squared(self, t: Time) -> Tensor:
        return -self.log_abar_rate(_time(t))


class VariancePreserving(_Preserving):
    """abar = exp(-b0 t - (b1 - b0) t^2 / 2): rates linear in time (Song et al. 2021)."""

    type: Literal["vp"] = "vp"
    beta_min: float = Field(0.01, ge=0)
    beta_max: float = Field(20.0, gt=0)

    def log_abar(self, t: Tensor) -> Tensor:
        return -self.beta_min * t - (self.beta_max - self.beta_min) * t**2 / 2

    def log_abar_rate(self, t: Tensor) -> Tensor:
        return -self.beta_min - (self.beta_max - self.beta_min) * t


class DiscreteVariancePreserving(_Preserving):
    """abar_k = prod_{j<=k} (1 - beta_j) at t = (k + 1)/T, log-linear between (Ho et al. 2020).

    ``betas`` may be any numbers in (0, 1); by default ``steps`` of them from ``beta_min`` to
    ``beta_max``, equally spaced.
    """

    type: Literal["vp_discrete"] = "vp_discrete"
    beta_min: float = Field(1e-4, gt=0, lt=1)
    beta_max: float = Field(0.02, gt=0, lt=1)
    steps: int = Field(200, ge=1)
    betas: Vector | None = None

    @model_validator(mode="after")
    def _betas_in_range(self) -> DiscreteVariancePreserving:
        if self.betas is not None:
            values = self.betas.numpy()
            if not ((values > 0) & (values < 1)).all():
                raise ValueError("betas should lie strictly between 0 and 1")
        return self

    def _table(self) -> Tensor:
        """log abar at t = 0, 1/T, ..., 1."""
        if self.betas is not None:
            betas = self.betas.tensor()
        else:
            betas = torch.linspace(self.beta_min, self.beta_max, self.steps, dtype=torch.float64)
        return torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0)])

    def _interval(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
        table = self._table()
        n = len(table) - 1
        # a time within rounding of a node belongs to the interval that ends there
        k = torch.ceil(t * n - 1e-9).long().clamp(1, n)
        return table, k, t, n

    def log_abar(self, t: Tensor) -> Tensor:
        table, k, t, n = self._interval(t)
        return table[k - 1] + (table[k] - table[k - 1]) * (t * n - (k - 1))

    def log_abar_rate(self, t: Tensor) -> Tensor:
        table, k, _, n = self._interval(t)
        return (table[k] - table[k - 1]) * n


class Cosine(_Preserving):
    """abar = cos^2(phi(t)) / cos^2(phi(0)), phi = (pi/2)(t + c)/(1 + c) (Nichol & Dhariwal 2021).

    The end is cut at log abar = ``log_abar_min``, by a shorter run of the angle, so that every
    level is finite.
    """

    type: Literal["cosine"] = "cosine"
    offset: float = Field(0.008, ge=0, lt=1)
    log_abar_min: float = Field(-12.0, lt=0)

    def _angle(self, t: Tensor) -> tuple[Tensor, float, float]:
        start = 0.5 * math.pi * self.offset / (1 + self.offset)
        end = math.acos(math.exp(self.log_abar_min / 2) * math.cos(start))
        return start + t * (end - start), start, end

    def log_abar(self, t: Tensor) -> Tensor:
        angle, start, _ = self._angle(t)
        return 2 * (torch.log(torch.cos(angle)) - math.log(math.cos(start)))

    def log_abar_rate(self, t: Tensor) -> Tensor:
        angle, start, end = self._angle(t)
        return -2 * torch.tan(angle) * (end - start)


Schedule = Annotated[
    VarianceExploding | EDM | VariancePreserving | DiscreteVariancePreserving | Cosine,
    Field(discriminator="type"),
]
"""A schedule in a spec: ``{type: vp, beta_max: 20}``."""
