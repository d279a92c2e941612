"""Sliced Wasserstein-1 distance to exact draws (see `distances` and `distance_to_exact`)."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.streams import Stream
from mempost.methods.bibliography import BONNEEL_2015_SLICED
from mempost.methods.statistics import distances
from mempost.methods.statistics.distance_to_exact import DistanceToExact


class SlicedWasserstein(DistanceToExact):
    """Sliced Wasserstein-1 distance to exact draws, with its interval and Monte-Carlo floor.

    In the unit of x: the distance that mass has to move along a random direction, on average.
    """

    column: ClassVar[str] = "sliced_wasserstein"
    publications = (BONNEEL_2015_SLICED,)

    directions: int = Field(64, ge=1)

    def statistic(self, exact: Float[Tensor, "m d"], stream: Stream) -> distances.Statistic:
        along = distances.directions(exact.shape[1], self.directions, stream).to(exact.device)

        def distance(z: Tensor, w: Tensor) -> Tensor:
            return distances.sliced_wasserstein(z, w, along)

        return distance
