"""How often paths cross boundaries of Voronoi cells before they settle, and when last.

A path is in the cell of its nearest example. Crossings between two levels that are kept count as
one, so that dense levels are needed (``save: {dense: 200}``). After a time s* that is known in
closed form no path of the exact flow leaves a cell of a given margin (see
`mempost.methods.geometry.entry_time`).

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models".
"""

from __future__ import annotations

import torch
from pydantic import Field

from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.geometry.entry_time import entry_time, pairs
from mempost.methods.geometry.paths import Paths
from mempost.methods.statistics.intervals import rate_of

QUANTILES = (0.5, 0.95, 1.0)


class CellCrossings(Metric):
    """Crossings of Voronoi cells along the paths of a flow.

    Columns ``crossed``, the share of paths that cross a boundary, with its exact binomial interval;
    ``crossings_mean`` and ``crossings_max`` over all paths; ``last_crossing_q``, quantiles of
    s = -log sigma at the last crossing, over paths with one. ``entry_time`` is s* for the margin,
    and ``left_after_entry`` the number of paths that leave a cell of this margin after it. Needs a
    sampler that keeps states.
    """

    publications = (BAPTISTA_2025_MEMORIZATION,)

    margin: float = Field(
        0.5, gt=0, lt=1, description="of a cell, over the smallest squared distance of examples"
    )
    confidence: float = Field(0.95, gt=0, lt=1)

    def evaluate(self, result: Result) -> Measured:
        paths = Paths.of(result)
        if paths is None:
            return Measured()
        count = paths.crossed.sum(1)
        n, some = len(count), count > 0
        found: dict[str, Variable] = {
            "crossed": rate_of(float(some.double().mean()), n, self.confidence).variable,
            "crossings_mean": count.double().mean(),
            "crossings_max": int(count.max()),
        }
        if some.any():
            last = paths.last_crossing[some]
            quantiles = torch.quantile(last, last.new_tensor(QUANTILES))
            found["last_crossing"] = ("quantile", quantiles)
        if len(paths.points) > 1:
            delta = self.margin * float(pairs(paths.points).min())
            start = entry_time(paths.points, delta, paths.weights)
            found["entry_time"] = start
            found["left_after_entry"] = int(paths.leaves(delta, start).sum())
        return Measured(found, {"quantile": QUANTILES})
