"""The coordinates in which a metric measures: those of the prior, or the raw ones of the data."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.result import Result

CoordinateSystem = Annotated[
    Literal["raw", "prior"],
    Field(description="raw: those of the training data; prior: standardised if the prior is"),
]


def in_coordinates(
    x: Float[Tensor, "n d"], system: CoordinateSystem, result: Result
) -> Float[Tensor, "n d"]:
    """States x, given in the prior's coordinates, in the system that is asked for."""
    return result.problem.prior.coordinates.to_raw(x) if system == "raw" else x
