"""Where paths end: on an example, on a face between examples, or elsewhere.

The reverse flow with the exact score of a training set ends on an example, or on the boundary of
its Voronoi cells (Baptista et al. 2025, main theorem). An end u is on the example n where
|u - x_n| is below a tolerance; else on a face where two or more examples are nearest, that is
where |u - x_i|^2 exceeds the smallest |u - x_n|^2 by no more than a small share of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mempost.methods.geometry.pairwise import nearest_distances, squared_distances


@dataclass(frozen=True, eq=False)
class LimitPoints:
    """Ends of n paths among m points.

    Attributes:
        nearest: index of the nearest point.
        distance: to it.
        on_point: whether the end lies on it.
        nearby: whether a point is among the nearest.
    """

    nearest: Tensor
    distance: Float[Tensor, " n"]
    on_point: Bool[Tensor, " n"]
    nearby: Bool[Tensor, "n m"]

    @classmethod
    def of(
        cls,
        ends: Float[Tensor, "n d"],
        points: Float[Tensor, "m d"],
        tolerance: float,
        face_tolerance: float,
    ) -> LimitPoints:
        """Classify ends; points are distinct."""
        distance, nearest = nearest_distances(ends, points, 1)
        squared = squared_distances(ends, points)
        nearby = squared <= distance**2 * (1 + face_tolerance)
        nearby[torch.arange(len(ends)), nearest[:, 0]] = True
        return cls(nearest[:, 0], distance[:, 0], distance[:, 0] < tolerance, nearby)

    @property
    def on_face(self) -> Bool[Tensor, " n"]:
        """Whether the end lies between points."""
        return ~self.on_point & (self.nearby.sum(1) > 1)

    def faces(self) -> dict[tuple[int, ...], int]:
        """How many ends lie on every face, which is named by the indices of its points."""
        found: dict[tuple[int, ...], int] = {}
        for row in self.nearby[self.on_face]:
            face = tuple(torch.nonzero(row)[:, 0].tolist())
            found[face] = found.get(face, 0) + 1
        return dict(sorted(found.items()))
