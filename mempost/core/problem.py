"""Inverse problems: a prior, and what is asked of it: y = F(x) + n with n Gaussian, or nothing.

    log p(x | y) = log p(x) + log p(y | x) + const

States are flat, x of shape (batch, d), in the prior's coordinates; the operator sees them in its
domain's shape. Complex data are stacked into real ones, so residuals and Jacobians that are asked
for *whitened* are real, in units of the noise: whitened residual r = stack(y - F(x))/gamma,
whitened Jacobian A = stack(J)/gamma, grad log p(y|x) = A^T r, Gauss-Newton Hessian A^T A.

Where nothing is asked there is the prior alone: what needs an operator, noise or data then says so.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.autodiff import value_and_pullback
from mempost.core.errors import NonFiniteError, PluginError, ShapeError
from mempost.core.memory import remember
from mempost.core.noise import GaussianNoise, stack
from mempost.core.operator import ForwardOperator
from mempost.core.prior import FittedPrior

_ROWS = 256


class Question(NamedTuple):
    """What is asked: an operator, observation noise, data ``y`` of the operator's range shape."""

    operator: ForwardOperator
    noise: GaussianNoise
    y: Tensor


class InverseProblem:
    """``InverseProblem(prior, operator, noise, y)``, or ``InverseProblem(prior)``: no question.

    Attributes:
        prior: the fitted prior.
        question: operator, noise and data, or None.
    """

    def __init__(
        self,
        prior: FittedPrior,
        operator: ForwardOperator | None = None,
        noise: GaussianNoise | None = None,
        y: Tensor | None = None,
    ) -> None:
        self.prior = prior
        self.question: Question | None = None
        if operator is None and noise is None and y is None:
            return
        if operator is None or noise is None or y is None:
            raise PluginError("a problem has an operator, noise and data, or none of the three")
        if not isinstance(y, Tensor):
            raise PluginError(f"y is a {type(y).__name__}; give a tensor, torch.as_tensor(y)")
        operator.check_domain(prior.shape)
        expected = operator.range_shape(prior.shape)
        if tuple(y.shape) != tuple(expected):
            raise ShapeError(f"data have shape {tuple(y.shape)}, the operator gives {expected}")
        finite = torch.isfinite(y)
        if not finite.all():
            where = ", ".join(map(str, (~finite).nonzero()[0].tolist()))
            raise NonFiniteError(f"datum [{where}] of y", remedy="leave out what was not measured")
        self.question = Question(operator, noise, y)

    @property
    def asked(self) -> Question:
        """The question.

        Raises:
            PluginError: there is none.
        """
        if self.question is None:
            raise PluginError(
                "nothing is asked here (no operator, noise and observation), and this needs data"
            )
        return self.question

    @property
    def operator(self) -> ForwardOperator:
        """F; refused where nothing is asked."""
        return self.asked.operator

    @property
    def noise(self) -> GaussianNoise:
        """The law of n; refused where nothing is asked."""
        return self.asked.noise

    @property
    def y(self) -> Tensor:
        """The data; refused where nothing is asked."""
        return self.asked.y

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
        return InverseProblem(self.prior, self.operator, self.noise, y)

    def forward(self, x: Float[Tensor, "batch d"]) -> Tensor:
        """F(x) as (batch, m), real or complex."""
        return self.operator(x.reshape(-1, *self.prior.shape)).flatten(1)

    def forward_at(self, points: Float[Tensor, "n d"]) -> Tensor:
        """F at points that other data meet again, as (n, m): made once, in blocks of rows."""

        def make() -> Tensor:
            with torch.no_grad():
                return torch.cat([self.forward(x) for x in points.split(_ROWS)])

        return remember(make, "F", self.operator, self.prior.shape, points)

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
        y, whitened = self.tangent(x)
        return self.noise.whiten(self.y.flatten() - y), whitened

    def tangent(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Tensor, Float[Tensor, "batch m_real d"]]:
        """F(x) as (batch, m) and the whitened Jacobian A: what no data change."""
        y, jacobian = self.operator.jacobian(x.reshape(-1, *self.prior.shape))
        whitened = stack(jacobian.movedim(-1, -2)).movedim(-1, -2) / self.noise.component_std
        return y.flatten(1), whitened

    def log_likelihood(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log p(y | x)."""
        return self.noise.log_likelihood(self.residual(x))

    def log_likelihood_gradient(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch d"]]:
        """log p(y | x) and its gradient, one forward and one adjoint evaluation."""
        pair = torch.func.vjp(self.log_likelihood, x)
        return pair[0], pair[1](torch.ones_like(pair[0]))[0]

    def misfit_ascent(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, "batch m_real"], Float[Tensor, "batch d"]]:
        """Stacked residual r = y - F(x) and A^T r = -grad |r|^2/2, without the noise level.

        One forward map and one pullback.
        """
        residual, pullback = value_and_pullback(lambda u: stack(self.residual(u)), x)
        return residual, -pullback(residual)

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """log p(x) + log p(y | x): the posterior up to the evidence."""
        return self.prior.log_density(x) + self.log_likelihood(x)
