"""Coverage of central credible intervals, over many truths.

The central interval of level c, of a coordinate of the draws, ends at the truth for c = |2u - 1|
with u the randomised rank (see `ranks`). So it covers the truth where |2u - 1| <= c, which has
probability c exactly if the draws are right: for any number of draws, and for atoms too, where an
interval that ends on an atom counts it with the probability that makes the level right.

Coverage of truths from the prior is a test of the sampler. Of held-out examples or of the training
set it is a statement on the prior: a memorized one covers what it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.measured import BOUND, Measured, bounds
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.statistics import intervals, ranks
from mempost.methods.statistics.calibration_verdict import by_point
from mempost.methods.statistics.quantities import Quantities

Level = Annotated[float, Field(gt=0, lt=1)]


class Coverage(Metric):
    """Share of truths inside central credible intervals, mean over coordinates, and their width.

    Columns ``coverage_<level>`` with its interval ``_low``, ``_high`` (all coordinates of a truth
    count as one unit), and ``width_<level>``: the mean width of the intervals in raw coordinates.
    Truths may come from the prior, be held out, or be training examples. For pictures the coverage
    at the levels 0, 0.01, ..., 1 is kept as ``coverage_curve``.
    """

    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (0.5, 0.9)
    every: int = Field(1, ge=1, description="use every n-th draw; of Markov chains, one a chain")
    confidence: float = Field(0.95, gt=0, lt=1)

    def evaluate(self, result: Result) -> Measured:
        reached = interval_levels(result, self.every)
        draws = ranks.calibration_draws(result, self.every)
        if reached is None or draws is None:
            return Measured()
        nominal = torch.linspace(0, 1, 101, dtype=torch.float64)
        coverage = self._covered(reached, self.levels)
        scale = result.problem.prior.coordinates.scale.double().cpu().numpy()
        widths = []
        for level in self.levels:
            ends = np.quantile(draws.values.numpy(), [(1 - level) / 2, (1 + level) / 2], axis=1)
            widths.append(float(((ends[1] - ends[0]) * scale).mean()))
        return Measured(
            {
                "coverage": (("level", BOUND), coverage),
                "width": ("level", widths),
                "coverage_curve": (("nominal", BOUND), self._covered(reached, nominal.tolist())),
            },
            {"level": self.levels, "nominal": nominal.tolist()},
            unlisted=["coverage_curve"],
        )

    def _covered(
        self, reached: Float[Tensor, "d t"], levels: Sequence[float]
    ) -> list[intervals.Interval]:
        """Share of truths inside, mean over coordinates, with the ends of its interval."""
        inside = [(reached <= level).double().mean(0)[None] for level in levels]
        return [intervals.rate(hits, self.confidence) for hits in inside]

    def verdict(self, results: Sequence[Result]) -> list[str]:
        level = max(self.levels)

        def share(result: Result) -> str:
            value, low, high = bounds(result.measured["coverage"].sel(level=level))
            return f"{value:.1%} ({low:.1%} to {high:.1%}) of the truths of {result.key}"

        return [
            f"{where}{level:.0%} intervals cover {', '.join(map(share, group))}."
            for where, group in by_point(results, "coverage")
        ]


def interval_levels(result: Result, every: int = 1) -> Float[Tensor, "d t"] | None:
    """Level of the central interval that ends at each truth, for every coordinate."""
    found = Quantities(norm=False, directions=0).of(result, every)
    return None if found is None else ranks.folded(found.u)
