"""Slowness within bounds: m = q^2."""

from __future__ import annotations

from torch import Tensor

from mempost.methods.waves.bounded import Bounded


class Slowness(Bounded):
    """Squared slowness (s^2/km^2) from slowness (s/km), clipped to bounds or by a logistic map."""

    def quantity_of_velocity(self, v: float) -> float:
        return 1 / v

    def squared_slowness(self, q: Tensor) -> Tensor:
        return q.square()

    def quantity(self, m: Tensor) -> Tensor:
        return m.sqrt()
