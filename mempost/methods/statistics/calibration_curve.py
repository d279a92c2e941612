"""Spread against error, place by place: how published studies judge the uncertainty of one image.

Over n places (nodes of a velocity, or coefficients) with posterior standard deviation s_i and error
e_i = |mean_i - truth_i|, sorted by s_i and cut into bins of equal counts,

    curve     (mean of s_i, mean of e_i) of every bin
    ratio     rms(e) / rms(s)
    slope     least squares through the origin, sum_i s_i e_i / sum_i s_i^2

All of them are for a single truth. If the truth is a draw from the posterior, e_i^2 has the mean
s_i^2, so the ratio is near 1 where places are many and nearly independent, and the slope near
sqrt(2/pi) = 0.80 for Gaussian marginals. Neighbouring nodes of a smooth field are not independent,
and no average over places of one image says how often an interval covers: for that, calibrate over
many truths.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.result import Result
from mempost.methods.statistics.moments import posterior_moments
from mempost.methods.waves.models import WaveModels

_ROUNDING = 1e-6
"""A spread this small beside the error is that of copies in floating point."""


class SpreadAndError(NamedTuple):
    """Standard deviation and absolute error of the mean at every place."""

    std: Float[Tensor, " n"]
    error: Float[Tensor, " n"]

    @property
    def has_spread(self) -> bool:
        """Whether the standard deviation is more than rounding."""
        return float(self.std.square().mean()) > _ROUNDING**2 * float(self.error.square().mean())

    @property
    def ratio(self) -> float:
        """rms(e) / rms(s); NaN without spread."""
        squared = float(self.error.square().mean() / self.std.square().mean())
        return math.sqrt(squared) if self.has_spread else math.nan

    @property
    def slope(self) -> float:
        """Slope of the line through the origin; NaN without spread."""
        slope = float(self.std @ self.error / self.std.square().sum())
        return slope if self.has_spread else math.nan

    def curve(self, bins: int) -> tuple[Float[Tensor, " bins"], Float[Tensor, " bins"]]:
        """Mean std and mean error of bins of (nearly) equal counts, by rising std."""
        order = self.std.argsort(stable=True)
        return tuple(  # type: ignore[return-value]
            torch.stack([part.mean() for part in values[order].tensor_split(min(bins, len(order)))])
            for values in (self.std, self.error)
        )


def velocity_moments(
    models: WaveModels, result: Result
) -> tuple[Float[Tensor, "n_x n_z"], Float[Tensor, "n_x n_z"]]:
    """Mean and standard deviation (ddof = 1; 0 for a single draw) of velocity over the draws."""
    v = models.velocity(result.samples.flat).double()
    return v.mean(0), v.std(0) if len(v) > 1 else torch.zeros_like(v[0])


def of_velocity(result: Result) -> SpreadAndError | None:
    """Node by node, in km/s; None without waves or without a truth."""
    models = WaveModels.of(result.problem)
    if models is None or result.truth is None:
        return None
    mean, std = velocity_moments(models, result)
    truth = models.velocity(result.truth[None])[0].double()
    return SpreadAndError(std.flatten(), (mean - truth).abs().flatten())


def of_coefficients(result: Result) -> SpreadAndError | None:
    """Coordinate by coordinate, in raw coordinates; None without a truth or without a spread."""
    if result.truth is None:
        return None
    mean, std = posterior_moments(result, "raw")
    if std is None:
        return None
    truth = result.problem.prior.coordinates.to_raw(result.truth)
    return SpreadAndError(std.double(), (mean - truth).double().abs())
