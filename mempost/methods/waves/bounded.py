"""Wave speeds as unknowns: squared slowness m = 1/v^2 from m, from s = 1/v or from v, in bounds.

A model that is too fast or too slow means nothing to the physics, and the grid cannot carry it.
Bounds on v (km/s) are kept in one of two ways:

    clip        q = min(max(x, low), high); derivatives are zero where a bound is active
    logistic    q = low + (high - low) / (1 + exp(-x)); x is unbounded, derivatives never vanish

where q is the operator's own quantity and low, high are its bounds. Jacobians are diagonal.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.errors import MempostError
from mempost.core.operator import ForwardOperator
from mempost.methods.diagonal import diagonal_product


class OutOfBoundsError(MempostError, ValueError):
    """A field that no unknown gives, since it leaves the bounds."""


class Bounded(ForwardOperator):
    """Squared slowness from a quantity within bounds; authors override the three hooks."""

    bounds: tuple[float, float] = Field((1.0, 6.0), description="lowest and highest velocity, km/s")
    enforce: Literal["clip", "logistic"] = Field(
        "clip", examples=["logistic"], description="how the bounds are kept"
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if not 0 < self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds should be 0 < low < high, found {self.bounds}")
        return self

    @abstractmethod
    def quantity_of_velocity(self, v: float) -> float:
        """q(v)."""

    @abstractmethod
    def squared_slowness(self, q: Tensor) -> Tensor:
        """m(q)."""

    @abstractmethod
    def quantity(self, m: Tensor) -> Tensor:
        """q(m)."""

    @property
    def quantity_bounds(self) -> tuple[float, float]:
        """Bounds of q, the lower one first."""
        low, high = sorted(self.quantity_of_velocity(v) for v in self.bounds)
        return low, high

    def forward(self, x: Float[Tensor, "batch *domain"]) -> Float[Tensor, "batch *domain"]:
        low, high = self.quantity_bounds
        if self.enforce == "clip":
            return self.squared_slowness(x.clamp(low, high))
        return self.squared_slowness(low + (high - low) * torch.sigmoid(x))

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        pair = torch.func.vjp(self.forward, x)
        m, derivative = pair[0], pair[1](torch.ones_like(pair[0]))[0]
        return m, diagonal_product(derivative.flatten(1), basis)

    def project(self, m: Float[Tensor, "batch *domain"]) -> Float[Tensor, "batch *domain"]:
        """The x that gives m; under ``clip`` fields are put within the bounds first.

        Raises:
            OutOfBoundsError: m leaves the open interval that the logistic map reaches.
        """
        low, high = self.quantity_bounds
        q = self.quantity(m)
        if self.enforce == "clip":
            return q.clamp(low, high)
        if not ((q > low) & (q < high)).all():
            v_low, v_high = self.bounds
            raise OutOfBoundsError(
                f"{type(self).__name__}: velocities from {float(m.max()) ** -0.5:.4g} to "
                f"{float(m.min()) ** -0.5:.4g} km/s; bounds are {v_low:g} to {v_high:g} km/s"
            )
        return torch.log((q - low) / (high - q))
