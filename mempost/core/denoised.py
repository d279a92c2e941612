"""The denoiser at a state: one call, and products with its Jacobian from the same call.

For z = a x + s e the denoiser D(z) = E[x | z] has the Jacobian J = dD/dz, and

    score          grad log p(z) = (a D(z) - z) / s^2                          (Tweedie)
    covariance     Cov[x | z] = (s^2 / a) J^T                     (second order Tweedie)

`FittedPrior.at` gives this object. By default the products come from automatic differentiation, one
backward pass each; a prior that knows them in closed form returns a subclass of `Denoised`.

References: Robbins 1956; Efron 2011, "Tweedie's formula and selection bias".
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from mempost.core.autodiff import Product, value_and_pullback
from mempost.core.level import NoiseLevel

if TYPE_CHECKING:
    from mempost.core.prior import FittedPrior


class Denoised:
    """D(z) and its derivatives, each row at its noise level; the first that is used makes the call.

    Attributes:
        prior: the prior whose denoiser is asked.
        z: the state, (batch, d).
        level: its noise level, s > 0.
        a: level.a as a column, (1, 1) or (batch, 1).
        s: level.s as a column.
    """

    def __init__(self, prior: FittedPrior, z: Float[Tensor, "batch d"], level: NoiseLevel) -> None:
        self.prior, self.z, self.level = prior, z, level
        self.a, self.s = level.columns(z)

    @cached_property
    def _evaluated(self) -> tuple[Tensor, Product]:
        return value_and_pullback(lambda u: self.prior.denoise(u, self.level), self.z)

    @property
    def mean(self) -> Float[Tensor, "batch d"]:
        """D(z) = E[x | z]."""
        return self._evaluated[0]

    def vjp(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """J^T v."""
        return self._evaluated[1](v)

    def covariance_product(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """Cov[x | z] v, without the d x d matrix."""
        return self.s**2 / self.a * self.vjp(v)

    @property
    def score(self) -> Float[Tensor, "batch d"]:
        """grad log p(z)."""
        return (self.a * self.mean - self.z) / self.s**2
