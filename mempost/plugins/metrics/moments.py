"""Posterior mean and standard deviation of each coordinate."""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.plugins.metrics.coordinates import CoordinateSystem


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


def posterior_moments(
    result: Result, system: CoordinateSystem
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"] | None]:
    """Mean and standard deviation; the latter is None for a single draw."""
    prior = result.problem.prior
    scale = prior.coordinates.scale if system == "raw" else 1.0
    std: Tensor | None
    if result.posterior is not None:
        mean, std = result.posterior.mean(), result.posterior.std()
    else:
        x = result.samples.flat
        mean, std = x.mean(0), x.std(0) if len(x) > 1 else None
    if system == "raw":
        mean = prior.coordinates.to_raw(mean)
    return mean, None if std is None else std * scale
