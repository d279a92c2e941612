"""Velocity within bounds: m = 1/q^2."""

from __future__ import annotations

from torch import Tensor

from mempost.methods.waves.bounded import Bounded


class Velocity(Bounded):
    """Squared slowness (s^2/km^2) from velocity (km/s), clipped to bounds or by a logistic map."""

    def quantity_of_velocity(self, v: float) -> float:
        return v

    def squared_slowness(self, q: Tensor) -> Tensor:
        return q.square().reciprocal()

    def quantity(self, m: Tensor) -> Tensor:
        return m.rsqrt()
