"""Mean and standard deviation of a posterior: in closed form where there is one, else of draws."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from mempost.core.result import Result
from mempost.methods.geometry.coordinates import CoordinateSystem


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
