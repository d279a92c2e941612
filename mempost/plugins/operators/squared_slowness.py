"""Squared slowness within bounds: m = q."""

from __future__ import annotations

from torch import Tensor

from mempost.methods.waves.bounded import Bounded


class SquaredSlowness(Bounded):
    """Squared slowness (s^2/km^2) from itself, clipped to bounds or by a logistic map."""

    def quantity_of_velocity(self, v: float) -> float:
        return v**-2

    def squared_slowness(self, q: Tensor) -> Tensor:
        return q

    def quantity(self, m: Tensor) -> Tensor:
        return m
