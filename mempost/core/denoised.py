"""The denoiser at a state: one call, and products with its Jacobian from the same call.

For z = a x + s e the denoiser D(z) = E[x | z] has the Jacobian J = dD/dz = (a/s^2) Cov[x | z].
Guided samplers need D(z), J^T v and Cov[x | z] v together; here they share one evaluation of the
denoiser, and every product costs one backward pass.
"""

from __future__ import annotations

from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from mempost.core.autodiff import Product, value_and_pullback
from mempost.core.noise import NoiseLevel
from mempost.core.prior import FittedPrior


class Denoised:
    """D(z) and its derivatives at one noise level.

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
        """D(z) = E[x | z]; the first use is the one denoiser call."""
        return self._evaluated[0]

    def vjp(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """J^T v."""
        return self._evaluated[1](v)

    def covariance_product(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """Cov[x | z] v = (s^2/a) J^T v."""
        return self.s**2 / self.a * self.vjp(v)
