"""Exact Wasserstein distance to exact draws, by optimal assignment.

Between two sets of n points of equal weight the transport of least cost is a permutation,

    W_p^p = min over permutations s of (1/n) sum_i |x_i - y_s(i)|^p        (Birkhoff, von Neumann),

which SciPy's assignment finds in O(n^3), 20 ms for n = 500. Resampled sets repeat points and are
assigned the same way. In d dimensions exact draws are O(n^(-1/d)) apart themselves: compare with
``_null``, and use `sliced_wasserstein` where that floor hides what is looked for.

References: Villani 2009, "Optimal Transport: Old and New"; Crouse 2016, "On implementing 2D
rectangular assignment algorithms".
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mempost.core.measured import Measured
from mempost.core.result import Result
from mempost.core.streams import Stream
from mempost.methods.bibliography import VILLANI_2009_OPTIMAL
from mempost.methods.geometry.pairwise import squared_distances
from mempost.methods.statistics.distance_to_exact import DistanceToExact
from mempost.methods.statistics.distances import Statistic


class Wasserstein(DistanceToExact):
    """Wasserstein-1 or -2 distance to exact draws, with its interval and Monte-Carlo floor.

    In the unit of x. Columns as for `sliced_wasserstein`, named ``wasserstein_1`` or
    ``wasserstein_2`` by the ``order``. As many exact draws are compared as there are draws.
    """

    column: ClassVar[str] = "wasserstein"
    publications = (VILLANI_2009_OPTIMAL,)

    order: Literal[1, 2] = 1
    draws: int = Field(500, ge=2, description="draws compared at most; time grows as their cube")
    resamples: int = Field(
        50, ge=10, examples=[20], description="for the interval, and splits for the null"
    )

    def evaluate(self, result: Result) -> Measured:
        if result.samples.truths is not None:
            return Measured()
        reference = result.sibling(self.reference)
        most = self.draws
        if reference.posterior is None:
            most = min(most, len(reference.samples) // 2)
        return DistanceToExact.evaluate(self.model_copy(update={"draws": most}), result)

    @property
    def name(self) -> str:
        """``wasserstein_1`` or ``wasserstein_2``."""
        return f"{self.column}_{self.order}"

    def statistic(self, exact: Float[Tensor, "m d"], stream: Stream) -> Statistic:
        """W_p^p; weights are multiples of 1/m, those of one sign summing to one."""
        m = len(exact)

        def distance(z: Tensor, w: Tensor) -> Tensor:
            cost = squared_distances(z, z) ** (self.order / 2)
            counts = (w * m).round().long()
            found = []
            for row in counts:
                here, there = (torch.repeat_interleave(part.clamp(min=0)) for part in (row, -row))
                costs = cost[here][:, there].cpu().numpy()
                found.append(float(costs[linear_sum_assignment(costs)].sum()) / m)
            return w.new_tensor(found)

        return distance

    def _root(self, value: Tensor) -> Tensor:
        return value.clamp(min=0) ** (1 / self.order)

    def _exact_draws(self, result: Result, n: int) -> tuple[Tensor, Tensor]:
        first, second = super()._exact_draws(result, n)
        return first[:n], second[:n]
