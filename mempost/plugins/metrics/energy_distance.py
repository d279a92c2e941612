"""Energy distance to exact draws (see `distances` and `distance_to_exact`)."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from mempost.core.streams import Stream
from mempost.methods.bibliography import SZEKELY_2013_ENERGY
from mempost.methods.statistics import distances
from mempost.methods.statistics.distance_to_exact import DistanceToExact


class EnergyDistance(DistanceToExact):
    """Energy distance to exact draws, with its interval and Monte-Carlo floor.

    The square root of 2 E|x - y| - E|x - x'| - E|y - y'|; it has no parameter to choose.
    """

    column: ClassVar[str] = "energy_distance"
    squared: ClassVar[bool] = True
    publications = (SZEKELY_2013_ENERGY,)

    def statistic(self, exact: Float[Tensor, "m d"], stream: Stream) -> distances.Statistic:
        return distances.squared_energy_distance
