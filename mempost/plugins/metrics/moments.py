"""Posterior mean and standard deviation of each coordinate."""

from __future__ import annotations

from pydantic import Field

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.geometry.coordinates import CoordinateSystem
from mempost.methods.statistics.moments import posterior_moments


class Moments(Metric):
    """Posterior mean and standard deviation of each coordinate: ``mean_i``, ``std_i``.

    In closed form where the sampler has a posterior, else from its draws (``std_i`` needs two). All
    coordinates are kept for pictures. In the prior's coordinates columns are ``prior_mean_i`` and
    ``prior_std_i``, so that the metric can stand in a spec twice.
    """

    limit: int = Field(8, ge=0, description="coordinates in the table, from the first")
    coordinates: CoordinateSystem = "raw"

    def evaluate(self, result: Result) -> Measured:
        mean, std = posterior_moments(result, self.coordinates)
        prefix = "" if self.coordinates == "raw" else "prior_"
        found = {f"{prefix}mean": ("coordinate", mean)}
        if std is not None:
            found[f"{prefix}std"] = ("coordinate", std)
        return Measured(found, columns={"coordinate": range(self.limit)})
