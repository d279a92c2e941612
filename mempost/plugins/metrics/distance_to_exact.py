"""What the distances to the exact answer share: draws, intervals and the Monte-Carlo floor.

A distance between two finite sets of draws is not zero even if both are exact. So every distance
comes with the distance between two independent exact sets of the same sizes: ``_null`` is the mean
over replicates and ``_null_high`` their 95 % quantile. A sampler whose distance is below the latter
cannot be told from the exact one.

The interval resamples both sets (whole chains of an MCMC sampler). Resampling adds the noise of a
second drawing to the distance; its mean excess is subtracted before the percentiles are taken.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.core.streams import Stream
from mempost.plugins.metrics import bootstrap
from mempost.plugins.metrics.coordinates import CoordinateSystem, in_coordinates
from mempost.plugins.metrics.thinning import thin, thin_rows

Statistic = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Distance (or its square) of x (n, d) and y (m, d) under weights (replicates, n or m)."""


class DistanceToExact(Metric):
    """Base of distances between a sampler's draws and exact ones; authors override ``statistic``.

    Columns NAME, NAME_low, NAME_high, NAME_null, NAME_null_high with ``NAME = cls.column``.
    """

    column: ClassVar[str]
    squared: ClassVar[bool] = False

    reference: str = "exact"
    draws: int = Field(1000, ge=2, description="draws compared at most, evenly thinned")
    coordinates: CoordinateSystem = "raw"
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(200, ge=10)
    null_replicates: int = Field(20, ge=1)

    @abstractmethod
    def statistic(self, exact: Float[Tensor, "m d"], stream: Stream) -> Statistic | None:
        """The distance, with what it takes from the exact draws; None where it has no meaning.

        Returns the square of the distance where ``cls.squared`` is true.
        """

    def evaluate(self, result: Result) -> dict[str, float]:
        samples = thin(result.samples, self.draws)
        chains, draws = samples.values.shape[:2]
        n = len(samples)
        exact, others = self._exact_sets(result, n)
        x = in_coordinates(samples.flat.double(), self.coordinates, result)
        y = in_coordinates(exact, self.coordinates, result)
        streams = result.streams
        statistic = self.statistic(y, streams.at(tile=3, step=bootstrap.STEP))
        if statistic is None:
            return {}

        def distance(a: Tensor) -> Tensor:
            return statistic(a, y, _uniform(a), _uniform(y))[0]

        u = bootstrap.resampling_counts(
            chains, draws, self.resamples, streams.at(tile=0, step=bootstrap.STEP)
        )
        v = bootstrap.resampling_counts(
            1, len(y), self.resamples, streams.at(tile=1, step=bootstrap.STEP)
        )
        value = distance(x)
        replicates = statistic(x, y, u.to(x.device) / len(x), v.to(x.device) / len(y))
        low, high = bootstrap.percentile_interval(
            replicates - (replicates.mean() - value), self.confidence
        )
        null = torch.stack(
            [distance(in_coordinates(other, self.coordinates, result)) for other in others]
        )
        null = self._root(null)
        columns = {"": self._root(value), "_low": self._root(low), "_high": self._root(high)}
        columns |= {"_null": null.mean(), "_null_high": torch.quantile(null, 0.95)}
        return {self.column + suffix: float(number) for suffix, number in columns.items()}

    def _root(self, value: Tensor) -> Tensor:
        value = value.clamp(min=0)
        return value.sqrt() if self.squared else value

    def _exact_sets(self, result: Result, n: int) -> tuple[Tensor, list[Tensor]]:
        """Exact draws to compare with, and independent sets of n draws for the null."""
        reference = result.sibling(self.reference)
        posterior = reference.posterior
        if posterior is not None:
            total = self.draws + self.null_replicates * n
            exact = posterior.sample(total, result.streams).double()
            return exact[: self.draws], list(exact[self.draws :].split(n))
        first, second = reference.samples.flat.double().tensor_split(2)
        return thin_rows(first, self.draws), [thin_rows(second, n)]


def _uniform(x: Tensor) -> Tensor:
    return x.new_full((1, len(x)), 1 / len(x))
