"""Nearest-neighbour memorization, never without its null.

With d_1 <= d_2 <= ... the distances of a sample to the N training examples that differ (copies of
one example are one neighbour, not several) and k = min(k, N),

    ratio       r = d_1 / mean(d_2, ..., d_k)          memorized if r < threshold
    third rule  d_1 < d_2 / 3                          (Yoon et al. 2023)
    tolerance   d_1 < tolerance                        a copy, up to the tolerance

A rate alone says nothing: in few dimensions, examples that no prior has ever seen pass the ratio
test in most cases. So the same numbers are computed for two controls, held-out examples against the
training set, and training examples, each once, against the others (leave one out). Beside the
excess of a rate p over the held-out one p_0 stands the rate corrected for it,

    (p - p_0) / (1 - p_0)

(Cohen's kappa, Cohen 1960): 1 if all draws are memorized, 0 if no more of them than of fresh
examples.
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import (
    COHEN_1960_COEFFICIENT,
    GU_2025_MEMORIZATION,
    YOON_2023_DIFFUSION,
)
from mempost.methods.geometry.coordinates import CoordinateSystem, in_coordinates
from mempost.methods.geometry.distinct import Distinct
from mempost.methods.geometry.pairwise import nearest_distances
from mempost.methods.statistics import bootstrap, intervals
from mempost.methods.statistics.intervals import Interval
from mempost.methods.statistics.thinning import thin_rows


class NearestNeighbour(Metric):
    """Memorization by distance ratios to the nearest training examples, with both controls.

    Columns are ``nn_ratio_mean``, ``nn_ratio_median``, ``nn_rate`` (r < threshold),
    ``nn_third_rate`` and, if there is a tolerance, ``nn_tolerance_rate``; each followed by nothing
    (the samples), ``_held_out`` or ``_leave_one_out``, and by ``_low`` and ``_high`` for its
    bootstrap interval; rates also as ``_excess``, samples minus held-out, and ``_corrected``, the
    excess over 1 minus held-out (left out where the held-out rate is 1). ``nn_distinct`` counts the
    different nearest examples of the draws under the ratio rule; of copies the first is named. For
    pictures the ratio of every draw, held-out and left-out example, and nearest example and
    distance of every draw, are kept beside them. In the prior's coordinates columns begin with
    ``nn_prior_``, so that the metric can stand in a spec twice. Ratios need two training examples
    that differ.
    """

    k: int = Field(50, ge=2, description="neighbours in the ratio, at most N")
    threshold: float = Field(0.7, gt=0, description="memorized if the ratio is below")
    tolerance: float | None = Field(None, gt=0, description="a copy if d_1 is below; null: no rate")
    coordinates: CoordinateSystem = "raw"
    controls: int = Field(2000, ge=1, description="control queries at most, evenly thinned")
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(1000, ge=10, examples=[20])

    publications = (YOON_2023_DIFFUSION, GU_2025_MEMORIZATION, COHEN_1960_COEFFICIENT)

    def evaluate(self, result: Result) -> Measured:
        if result.data is None:
            return Measured()
        train = in_coordinates(result.data.train.flatten(1), self.coordinates, result)
        held_out = in_coordinates(result.data.held_out.flatten(1), self.coordinates, result)
        first = Distinct.of(train).first
        train = train[first]
        held_out, left_out = thin_rows(held_out, self.controls), thin_rows(train, self.controls)
        x = in_coordinates(result.samples.flat, self.coordinates, result)
        chains, draws = result.samples.values.shape[:2]

        distances, neighbours = nearest_distances(x, train, min(self.k, len(train)))
        measured = self.measure(distances)
        sets = [("", "draw", measured, chains, draws)]
        if len(held_out) > 0:
            controls = self.measure(nearest(held_out, train, self.k))
            sets.append(("_held_out", "held_out", controls, 1, len(held_out)))
        if len(train) > 1:
            controls = self.measure(nearest(left_out, train, self.k + 1)[:, 1:])
            sets.append(("_leave_one_out", "left_out", controls, 1, len(left_out)))

        known: dict[str, Interval] = {}
        for tile, (suffix, _, values, groups, size) in enumerate(sets):
            stream = result.streams.at(tile=tile, step=bootstrap.STEP)
            for name, value in values.items():
                by_chain = value.reshape(groups, size)
                if name != "ratio_mean":
                    known[name + suffix] = intervals.rate(by_chain, self.confidence)
                    continue
                known[name + suffix] = intervals.mean(
                    by_chain, self.confidence, self.resamples, stream
                )
                known[f"ratio_median{suffix}"] = intervals.median(by_chain, self.confidence)
        for name in ("rate", "third_rate", "tolerance_rate"):
            if name in known and f"{name}_held_out" in known:
                known |= _against_null(name, known[name], known[f"{name}_held_out"])
        found: dict[str, Variable] = {name: given.variable for name, given in known.items()}
        if "rate" in measured:
            memorized = neighbours[measured["rate"] > 0, 0]
            found["distinct"] = len(memorized.unique())
        drawn: dict[str, Variable] = {"nearest": ("draw", first[neighbours[:, 0]])}
        drawn |= {"distance": ("draw", distances[:, 0]), "threshold": self.threshold}
        for suffix, axis, values, *_ in sets:
            if "ratio_mean" in values:
                drawn[f"ratio{suffix}"] = (axis, values["ratio_mean"])
        return Measured(
            {f"{self.prefix}_{name}": value for name, value in (found | drawn).items()},
            unlisted=[f"{self.prefix}_{name}" for name in drawn],
        )

    @property
    def prefix(self) -> str:
        """What the columns begin with."""
        return "nn" if self.coordinates == "raw" else "nn_prior"

    def measure(self, distances: Float[Tensor, "n k"]) -> dict[str, Float[Tensor, " n"]]:
        """Ratio and memorized-or-not (0 or 1) of every query from its ascending distances."""
        values: dict[str, Tensor] = {}
        if distances.shape[1] > 1:
            ratio = distances[:, 0] / distances[:, 1:].mean(1)
            third = distances[:, 0] / distances[:, 1]
            values["ratio_mean"] = ratio
            values["rate"] = (ratio < self.threshold).double()
            values["third_rate"] = (third < 1 / 3).double()
        if self.tolerance is not None:
            values["tolerance_rate"] = (distances[:, 0] < self.tolerance).double()
        return values


def nearest(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"], k: int
) -> Float[Tensor, "n k"]:
    """The min(k, m) smallest distances of every query, ascending."""
    return nearest_distances(queries, points, min(k, len(points)))[0]


def _against_null(name: str, rate: Interval, null: Interval) -> dict[str, Interval]:
    """Excess over the held-out rate, and the rate corrected for it where that has a meaning."""
    found = {f"{name}_excess": intervals.rate_difference(rate, null)}
    if null.value < 1:
        others = intervals.rate_quotient(rate.complement, null.complement)
        found[f"{name}_corrected"] = others.complement
    return found
