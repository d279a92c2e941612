"""Maximum mean discrepancy to exact draws (see `distances` and `distance_to_exact`)."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.streams import Stream
from mempost.methods.bibliography import GRETTON_2012_KERNEL
from mempost.methods.statistics import distances
from mempost.methods.statistics.distance_to_exact import DistanceToExact


class MaximumMeanDiscrepancy(DistanceToExact):
    """Maximum mean discrepancy (Gaussian kernel) to exact draws, with interval and floor.

    The bandwidth is the median distance of the exact draws unless it is given; nothing where that
    is zero (the posterior is a single point).
    """

    column: ClassVar[str] = "mmd"
    squared: ClassVar[bool] = True
    publications = (GRETTON_2012_KERNEL,)

    bandwidth: float | None = Field(
        None, gt=0, description="of the kernel; null: median distance of the exact draws"
    )

    def statistic(self, exact: Float[Tensor, "m d"], stream: Stream) -> distances.Statistic | None:
        bandwidth = self.bandwidth or distances.median_distance(exact)
        if bandwidth == 0:
            return None

        def distance(z: Tensor, w: Tensor) -> Tensor:
            return distances.squared_mmd(z, w, bandwidth)

        return distance
