"""What the distances to the exact answer share: draws, intervals and the Monte-Carlo floor.

A distance between two finite sets of draws is not zero even if both are exact. So every distance
comes with the distance between two exact sets of the same sizes, over random splits of exact draws:
``_null`` is the mean and ``_null_high`` the 95 % quantile. Independent draws whose distance is
below the latter cannot be told from exact ones; draws of a Markov chain count for less than their
number and may lie above it though their distribution is exact.

The same is measured in the coordinates of the nearest mode (see `local_coordinates`): a distance
in x does not see what happens inside narrow modes, nor along a coordinate of small scale.

The interval is of the distance between the laws, by the triangle inequality: it may be off by what
resamples of both sets (of whole chains of an MCMC sampler) move away from them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.core.streams import Stream
from mempost.methods.geometry.coordinates import CoordinateSystem, in_coordinates
from mempost.methods.statistics import bootstrap, intervals
from mempost.methods.statistics.distances import Statistic
from mempost.methods.statistics.local_coordinates import local_coordinates
from mempost.methods.statistics.thinning import thin, thin_rows

FEWEST = 24
"""Draws below which the 95 % line is withheld: more than 95 % of exact ones would be below it."""


class DistanceToExact(Metric):
    """Base of distances between a sampler's draws and exact ones; authors override ``statistic``.

    Columns NAME, NAME_low, NAME_high, NAME_null, NAME_null_high with ``NAME = cls.column``, and the
    same named NAME_local in coordinates of the nearest mode, where the exact posterior has a
    density; none in calibration runs.
    """

    column: ClassVar[str]
    squared: ClassVar[bool] = False

    reference: str = "exact"
    draws: int = Field(1000, ge=2, description="draws compared at most, evenly thinned")
    coordinates: CoordinateSystem = "raw"
    local: bool = Field(
        True, description="measure in coordinates of the nearest mode, too: inside narrow modes"
    )
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(
        200, ge=10, examples=[20], description="for the interval, and splits for the null"
    )

    @abstractmethod
    def statistic(self, exact: Float[Tensor, "m d"], stream: Stream) -> Statistic | None:
        """The distance, with what it takes from the exact draws; None where it has no meaning.

        Returns the square of the distance where ``cls.squared`` is true.
        """

    def evaluate(self, result: Result) -> Measured:
        if result.samples.truths is not None:  # draws for many data sets, none of them compared
            return Measured()
        samples = thin(result.samples, self.draws)
        exact, more = self._exact_draws(result, len(samples))
        sets = samples.flat, exact, more
        found = self._distance(
            self.name,
            [in_coordinates(x.double(), self.coordinates, result) for x in sets],
            result,
            samples.values.shape[:2],
        )
        reference = result.sibling(self.reference)
        theirs = [_moved(x, result, reference) for x in sets]
        local = local_coordinates(reference.posterior, theirs[1]) if self.local else None
        if local is not None:
            own = [local(x) for x in theirs]
            found |= self._distance(f"{self.name}_local", own, result, samples.values.shape[:2])
        return Measured(found)

    def _distance(
        self, name: str, sets: Sequence[Float[Tensor, "_ k"]], result: Result, shape: Sequence[int]
    ) -> dict[str, Variable]:
        """Draws, exact draws and more of these: their distance with interval and floor."""
        (x, y, more), (chains, draws) = sets, shape
        m, r = len(y), self.resamples
        streams = [result.streams.at(tile=k, step=bootstrap.STEP) for k in range(4)]
        statistic = self.statistic(y, streams[3])
        if statistic is None:
            return {}

        def distance(z: Tensor, w: Tensor) -> Tensor:
            return self._root(statistic(z, w.to(z)))

        u = bootstrap.resampling_counts(chains, draws, r, streams[0])
        v = bootstrap.resampling_counts(1, m, r, streams[1])
        units, pool = min(chains if chains > 1 else draws, m), torch.cat([y, more])
        splits = torch.stack(
            [_signs(m, len(more))[0, streams[2].permutation(len(pool))] for _ in range(r)]
        )
        null = distance(pool, splits)
        return {
            name: between(distance, x, y, u, v, units, self.confidence).variable,
            f"{name}_null": null.mean(),
            f"{name}_null_high": torch.quantile(null, 0.95)
            if min(len(x), m) >= FEWEST
            else math.nan,
        }

    @property
    def name(self) -> str:
        """What the variables begin with."""
        return self.column

    def _root(self, value: Tensor) -> Tensor:
        value = value.clamp(min=0)
        return value.sqrt() if self.squared else value

    def _exact_draws(self, result: Result, n: int) -> tuple[Tensor, Tensor]:
        """Exact draws to compare with, and n more (fewer if the reference only draws).

        In the coordinates of the result's prior, whichever prior the reference has.
        """
        reference = result.sibling(self.reference)
        if reference.posterior is not None:
            drawn = reference.posterior.sample(self.draws + n, result.streams)
            first, second = drawn[: self.draws], drawn[self.draws :]
        else:
            first, second = reference.samples.flat.tensor_split(2)
            first, second = thin_rows(first, self.draws), thin_rows(second, n)
        return _moved(first, reference, result), _moved(second, reference, result)


def _moved(x: Float[Tensor, "n d"], of: Result, to: Result) -> Float[Tensor, "n d"]:
    """States in the coordinates of one result's prior, in those of another one's."""
    theirs, ours = (r.problem.prior.coordinates for r in (of, to))
    return x if theirs is ours else ours.from_raw(theirs.to_raw(x))


def between(
    distance: Statistic,
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    u: Float[Tensor, "resamples n"],
    v: Float[Tensor, "resamples m"],
    units: int,
    confidence: float,
) -> intervals.Interval:
    """The distance between the laws of x and y, from how often resamples hold their rows.

    Args:
        units: that were resampled of the smaller set.
    """
    value = float(distance(torch.cat([x, y]), _signs(len(x), len(y)).to(x))[0])
    moved = [distance(z.repeat(2, 1), _resampled(len(z), counts)) for z, counts in ((x, u), (y, v))]
    return intervals.norm(value, moved[0] + moved[1], units, confidence)


def _resampled(n: int, counts: Float[Tensor, "replicates n"]) -> Float[Tensor, "replicates n+n"]:
    """Weights of n points as often as they were picked, against all of them."""
    return torch.cat([counts, torch.full_like(counts, -1)], 1) / n


def _signs(n: int, m: int) -> Float[Tensor, "1 n+m"]:
    """Weights 1/n of the first n points, -1/m of the other m."""
    ones = torch.ones(1, n + m, dtype=torch.float64)
    return torch.cat([ones[:, :n] / n, -ones[:, n:] / m], 1)
