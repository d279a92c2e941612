"""How strong a Tikhonov penalty is at the noise level sigma, and what it leaves of a flow.

The penalty c(sigma) turns the score (D - u)/sigma^2 in u = z/a into (D - u)/(sigma^2 + c(sigma)).
Near an atom x_n, far from the others, D = x_n and

    d log|u - x_n| / d log sigma = sigma^2 / (sigma^2 + c(sigma)),

so that a law N(x_n, r(sigma)^2 I) stays one of this kind:

    c                   r^2 = sigma^2 + c                     ends at sqrt(c)
    c sigma^p, p < 2    r^q = sigma^q + c,    q = 2 - p       ends at c^(1/q)
    c (1 + sigma^2)     r^2 = S^2 (((1 + c) sigma^2 + c)/((1 + c) S^2 + c))^(1/(1 + c))

The first two tend to the noised law of the atom, r/sigma -> 1, as sigma grows. The third is a
constant c in the coordinates z of a variance-preserving schedule (a^2 = 1/(1 + sigma^2), c/a^2 in
u); it does not, and where it ends depends on the level S where the flow starts. For p = 2 the flow
would reach the atom, more slowly.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from mempost.core.plugin import Recipe
from mempost.core.variants import ONE_OF

Positive = Annotated[float, Field(gt=0)]


class Power(Recipe):
    """c sigma^exponent; the exponent 0 is a constant."""

    type: Literal["power"] = "power"
    c: Positive = Field(description="the penalty at sigma = 1")
    exponent: float = Field(0.0, lt=2, description="p, below 2")

    def at(self, sigma: Tensor) -> Tensor:
        """c(sigma), of the shape of sigma."""
        return self.c * sigma**self.exponent

    def spread(self, factor: float = 1.0) -> float:
        """Standard deviation of a coordinate at the end of the flow, with ``factor`` c for c."""
        return (factor * self.c) ** (1 / (2 - self.exponent))


class Preserving(Recipe):
    """c (1 + sigma^2): a constant in the coordinates of a variance-preserving schedule."""

    type: Literal["preserving"] = "preserving"
    c: Positive = Field(description="the penalty in z")
    sigma_max: Positive = Field(
        80.0, description="level at which the flow starts; where it ends depends on it"
    )

    def at(self, sigma: Tensor) -> Tensor:
        """c(sigma), of the shape of sigma."""
        return self.c * (1 + sigma**2)

    def spread(self, factor: float = 1.0) -> float:
        """Standard deviation of a coordinate at the end of the flow, with ``factor`` c for c."""
        c = factor * self.c
        share = c / ((1 + c) * self.sigma_max**2 + c)
        return self.sigma_max * math.exp(math.log(share) / (2 * (1 + c)))


Strength = Power | Preserving
StrengthField = Positive | Annotated[Power | Preserving, ONE_OF]
"""A penalty in a spec: a number, or ``{type: power, c: 0.01, exponent: 1}``."""


def strength_of(c: float | Power | Preserving) -> Strength:
    """The penalty that a number stands for, a constant; any other as it is."""
    return c if isinstance(c, Power | Preserving) else Power(c=c)


def stored(strength: Strength) -> dict[str, Any]:
    """JSON values of a penalty."""
    return strength.model_dump(mode="json")


def restored(values: dict[str, Any]) -> Strength:
    """The inverse of `stored`."""
    return (Power if values["type"] == "power" else Preserving).model_validate(values)
