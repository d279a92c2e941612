"""Paths of a reverse process in u = z/a against s = -log sigma, and the cells that they cross.

Under the exact score of a training set a path obeys du/ds = -(u - xbar(u, e^-s)). It crosses
Voronoi cells until the weights have decided for one example, and then

    |u(s) - x*| = K e^-s        up to terms that vanish like exp(-D^2 e^{2s}/2),

with D the distance from x* to the nearest other example (Baptista et al. 2025, corollary). K and
the slope -1 are read off where both have become visible: after the last crossing, and where D is
many sigma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mempost.core.capabilities import HasExamples, ask
from mempost.core.result import Result
from mempost.methods.geometry.distinct import Distinct
from mempost.methods.geometry.entry_time import inside
from mempost.methods.geometry.pairwise import nearest_distances


@dataclass(frozen=True, eq=False)
class Paths:
    """States of n paths at falling noise levels, and the distinct examples.

    Attributes:
        u: z/a, (n, level, d).
        sigma: s/a of every level, falling.
        points: distinct examples.
        weights: theirs.
        numbers: what they are called among all examples: the first of every set of copies.
    """

    u: Float[Tensor, "n level d"]
    sigma: Float[Tensor, " level"]
    points: Float[Tensor, "m d"]
    weights: Float[Tensor, " m"]
    numbers: Tensor

    @classmethod
    def of(cls, result: Result) -> Paths | None:
        """The paths that a sampler has kept; None if it has none, or the prior no examples.

        Of a level that is kept more than once, as by fixed steps, one state stands.
        """
        kept, prior = result.samples.trajectory, ask(result.problem.prior, HasExamples)
        if kept is None or prior is None:
            return None
        noisy = torch.nonzero(kept.s > 0)[:, 0]
        order = noisy[(kept.s / kept.a)[noisy].argsort(descending=True, stable=True)]
        order = order[(kept.s / kept.a)[order].diff(prepend=kept.s.new_tensor([math.inf])) < 0]
        a = kept.a[order][:, None].to(kept.z)
        x, weights = prior.examples
        distinct = Distinct.of(x)
        return cls(
            (kept.z[:, :, order].flatten(0, 1) / a).double(),
            (kept.s / kept.a)[order],
            x[distinct.first].double(),
            distinct.total(weights).double(),
            distinct.first,
        )

    @property
    def s(self) -> Float[Tensor, " level"]:
        """-log sigma."""
        return -self.sigma.log()

    @cached_property
    def nearest(self) -> Tensor:
        """Index of the nearest point at every level, (n, level)."""
        n = self.u.shape[0]
        return nearest_distances(self.u.flatten(0, 1), self.points, 1)[1].reshape(n, -1)

    @property
    def crossed(self) -> Tensor:
        """Whether the cell has changed since the level before, (n, level - 1)."""
        return self.nearest[:, 1:] != self.nearest[:, :-1]

    @property
    def last_crossing(self) -> Float[Tensor, " n"]:
        """s at the first level in the last cell; -inf for paths that crossed none."""
        s = self.s[1:].expand(len(self.u), -1)
        return torch.where(self.crossed, s, -math.inf).amax(1)

    def distances(self, point: Tensor) -> Float[Tensor, "n level"]:
        """|u - x| to one point for every path, (n,) indices."""
        return (self.u - self.points[point][:, None]).norm(dim=-1)

    def leaves(self, delta: float, start: float) -> Bool[Tensor, " n"]:
        """Whether a path leaves a cell of margin delta at s >= start."""
        n, late = len(self.u), self.s >= start
        cell = inside(self.u[:, late].flatten(0, 1), self.points, delta).reshape(n, -1)
        return ((cell[:, :-1] >= 0) & (cell[:, 1:] != cell[:, :-1])).any(1)

    @cached_property
    def apart(self) -> Float[Tensor, " m"]:
        """Distance from every point to the nearest other one; inf if there is none."""
        if len(self.points) == 1:
            return self.points.new_full((1,), math.inf)
        return nearest_distances(self.points, self.points, 2)[0][:, 1]
