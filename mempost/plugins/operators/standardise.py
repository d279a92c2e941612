"""From standardised coordinates to raw ones: x_raw = m + s x, elementwise, with J = diag(s).

A prior fitted with ``standardise: true`` lives in x = (x_raw - m)/s, with m and s the mean and
standard deviation of its training set. This operator, innermost in a composition, gives the physics
the raw coordinates that it needs.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator
from torch import Tensor

from mempost.core.arrays import FrozenArray, Vector
from mempost.core.errors import PluginError, ShapeError
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.prior import FittedPrior
from mempost.core.tables import constant
from mempost.methods.diagonal import diagonal_product


class Standardise(ForwardOperator):
    """Raw coordinates from standardised ones, x_raw = location + scale x.

    ``{type: standardise, from: prior}`` takes location and scale from the fitted prior; it does so
    in `resolve`, and cannot be applied before. In Python, write ``from_="prior"``.
    """

    model_config = ConfigDict(populate_by_name=True)
    tags = frozenset({"linear"})
    from_: Literal["prior"] | None = Field(
        None,
        alias="from",
        description="take location and scale from the prior's coordinates",
        examples=["prior"],
    )
    location: Vector | None = Field(None, description="m, (d,)")
    scale: Vector | None = Field(None, description="s, (d,), positive")

    @model_validator(mode="after")
    def _prior_or_vectors(self) -> Self:
        vectors = (self.location is not None) + (self.scale is not None)
        if vectors != (0 if self.from_ else 2):
            raise ValueError("give either `from: prior`, or both location and scale")
        if self.location is not None and self.scale is not None:
            if self.location.shape != self.scale.shape:
                raise ValueError(
                    f"location holds {len(self.location)} numbers, scale {len(self.scale)}"
                )
            if not (self.scale.numpy() > 0).all():
                raise ValueError("scale should hold positive numbers")
        return self

    def resolve(self, prior: FittedPrior) -> Self:
        if self.from_ is None:
            return self
        location, scale = prior.coordinates.location, prior.coordinates.scale
        return type(self)(location=FrozenArray(location), scale=FrozenArray(scale))

    @property
    def domain_shape(self) -> Shape | None:
        return None if self.location is None else self.location.shape

    def check_domain(self, shape: Shape) -> None:
        """Refuse models that do not hold as many numbers as location and scale."""
        if self.location is not None and math.prod(shape) != len(self.location):
            raise ShapeError(
                f"Standardise takes models of {len(self.location)} numbers, found shape {shape}"
            )

    def forward(self, x: Tensor) -> Tensor:
        location, scale = self._vectors(x)
        return (location + scale * x.flatten(1)).reshape(x.shape)

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scale = self._vectors(x)[1]
        return self(x), diagonal_product(scale.expand(len(x), -1), basis)

    def _vectors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.location is None or self.scale is None:
            raise PluginError(
                "Standardise takes location and scale from the prior and has not met it: "
                "call operator.resolve(fitted_prior) first"
            )
        place = {"dtype": x.dtype, "device": x.device}
        return constant(self.location, **place), constant(self.scale, **place)
