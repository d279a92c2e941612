"""Inverse problems: y = F(x) + n with x from the prior and n Gaussian.

    log p(x | y) = log p(x) + log p(y | x) + const

States are flat, x of shape (batch, d), in the prior's coordinates; the operator sees them in its
domain's shape. Complex data are stacked into real ones, so residuals and Jacobians that are asked
for *whitened* are real, in units of the noise: whitened residual r = stack(y - F(x))/gamma,
whitened Jacobian A = stack(J)/gamma, grad log p(y|x) = A^T r, Gauss-Newton Hessian A^T A.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import ShapeError
from mempost.core.noise import GaussianNoise, stack
from mempost.core.operator import ForwardOperator
from mempost.core.prior import FittedPrior


@dataclass(frozen=True, eq=False)
class InverseProblem:
    """A prior, an operator, observation noise and data ``y`` of the operator's range shape."""

    prior: FittedPrior
    operator: ForwardOperator
    noise: GaussianNoise
    y: Tensor

    def __post_init__(self) -> None:
        self.operator.check_domain(self.prior.shape)
        expected = self.operator.range_shape(self.prior.shape)
        if tuple(self.y.shape) != tuple(expected):
            raise ShapeError(
                f"data have shape {tuple(self.y.shape)}, the operator gives {tuple(expected)}"
            )

    @property
    def dimension(self) -> int:
        """d, the number of unknowns."""
        return self.prior.dimension

    @property
    def data_dimension(self) -> int:
        """Number of real data (complex ones count twice)."""
        return self.y.numel() * (2 if self.y.is_complex() else 1)

    def with_data(self, y: Tensor) -> InverseProblem:
        """The same problem with other data."""
        return replace(self, y=y)

    def forward(self, x: Float[Tensor, "batch d"]) -> Tensor:
        """F(x) as (batch, m), real or complex."""
        return self.operator(x.reshape(-1, *self.prior.shape)).flatten(1)

    def residual(self, x: Float[Tensor, "batch d"]) -> Tensor:
        """y - F(x) as (batch, m)."""
        return self.y.flatten() - self.forward(x)

    def whitened_residual(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch m_real"]:
        """Real residuals in units of the noise."""
        return self.noise.whiten(self.residual(x))

    def linearise(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, "batch m_real"], Float[Tensor, "batch m_real d"]]:
        """Whitened residual r and whitened Jacobian A of F (so that r(x + v) = r - A v + ...)."""
        y, jacobian = self.operator.jacobian(x.reshape(-1, *self.prior.shape))
        whitened = stack(jacobian.movedim(-1, -2)).movedim(-1, -2) / self.noise.component_std
        return self.noise.whiten(self.y.flatten() - y.flatten(1)), whitened

    def log_likelihood(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log p(y | x)."""
        return self.noise.log_likelihood(self.residual(x))

    def log_likelihood_gradient(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch d"]]:
        """log p(y | x) and its gradient, one forward and one adjoint evaluation."""
        pair = torch.func.vjp(self.log_likelihood, x)
        return pair[0], pair[1](torch.ones_like(pair[0]))[0]

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """log p(x) + log p(y | x): the posterior up to the evidence."""
        return self.prior.log_density(x) + self.log_likelihood(x)
