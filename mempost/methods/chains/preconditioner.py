"""Preconditioners of Langevin dynamics: matrices M = L L^T that take the place of the identity.

    dX = M grad log p(X | y) dt + sqrt(2) L dW

has the posterior as its invariant law for every constant M. The best constant is the posterior
covariance; what can be had of it is

    identity         I
    matrix           given
    prior            Cov[x], of a mixture prior
    gauss_newton     (C^-1 + A^T A)^-1, C = Cov[x] or v I

with A the whitened Jacobian at the chain's position. The last one makes every direction of a linear
Gaussian problem equally stiff. A chain takes it at its start and once more half-way through its
warm-up; then it stays, since a matrix that moved with the chain would change the invariant law.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from mempost.core.arrays import FrozenArray, Matrix
from mempost.core.capabilities import HasComponents, require
from mempost.core.errors import ShapeError
from mempost.core.plugin import Recipe
from mempost.core.posterior import mixture_moments
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.core.variants import ONE_OF


class Preconditioner(Recipe):
    """A rule for M; ``factor`` gives L, or None for the identity."""

    follows_chain: ClassVar[bool] = False

    def check(self, problem: InverseProblem) -> None:
        """Raise `PluginError` if the rule does not apply to the problem."""

    @abstractmethod
    def factor(
        self, problem: InverseProblem, x: Float[Tensor, "batch d"]
    ) -> Float[Tensor, "batch d d"] | None:
        """L with L L^T = M for chains at x."""


class IdentityMatrix(Preconditioner):
    """M = I."""

    type: Literal["identity"] = "identity"

    def factor(self, problem: InverseProblem, x: Tensor) -> None:
        return None


class GivenMatrix(Preconditioner):
    """M as given: symmetric and positive definite, d x d."""

    type: Literal["matrix"] = "matrix"
    values: Matrix

    @field_validator("values")
    @classmethod
    def _positive(cls, values: FrozenArray) -> FrozenArray:
        M = values.tensor()
        if M.shape[0] != M.shape[1] or not torch.allclose(M, M.T):
            raise ValueError("a preconditioner should be a symmetric matrix")
        if torch.linalg.cholesky_ex(M).info != 0:
            raise ValueError("a preconditioner should be positive definite")
        return values

    def factor(self, problem: InverseProblem, x: Tensor) -> Tensor:
        L = torch.linalg.cholesky(self.values.tensor()).to(x)
        if len(L) != problem.dimension:
            raise ShapeError(
                f"the preconditioner is {len(L)} x {len(L)}, the problem has "
                f"{problem.dimension} unknowns"
            )
        return L.expand(len(x), -1, -1)


class PriorCovariance(Preconditioner):
    """M = Cov[x] of a mixture prior."""

    type: Literal["prior"] = "prior"

    def factor(self, problem: InverseProblem, x: Tensor) -> Tensor:
        return symmetric_factor(prior_covariance(problem.prior)).expand(len(x), -1, -1)


class GaussNewton(Preconditioner):
    """M = (C^-1 + A^T A)^-1 with the whitened Jacobian A at the chain's position."""

    follows_chain: ClassVar[bool] = True
    type: Literal["gauss_newton"] = "gauss_newton"
    prior_variance: float | None = Field(
        None, gt=0, description="C = prior_variance I; by default the covariance of the prior"
    )

    def check(self, problem: InverseProblem) -> None:
        problem.gaussian("preconditioner: gauss_newton")

    def factor(self, problem: InverseProblem, x: Tensor) -> Tensor:
        if self.prior_variance is None:
            L = symmetric_factor(prior_covariance(problem.prior))
        else:
            L = self.prior_variance**0.5 * torch.eye(problem.dimension).to(x)
        _, A = problem.linearise(x)
        AL = require_finite(A @ L, "whitened Jacobian").double()  # squared, it needs the digits
        upper = torch.linalg.cholesky(torch.eye(len(L)).to(AL) + AL.mT @ AL).mT
        wide = L.double().expand_as(upper)
        return torch.linalg.solve_triangular(upper, wide, upper=True, left=False).to(x)


PreconditionerField = Annotated[
    IdentityMatrix | GivenMatrix | PriorCovariance | GaussNewton, ONE_OF
]
"""A preconditioner in a spec: ``gauss_newton`` or ``{type: matrix, values: [[2, 0], [0, 1]]}``."""


def prior_covariance(prior: FittedPrior, chunk: int = 256) -> Float[Tensor, "d d"]:
    """Cov[x] of a mixture prior: between its components and within them.

    Raises:
        PluginError: the prior is not a mixture.
    """
    mixture = require(
        prior,
        HasComponents,
        "a preconditioner by the covariance of the prior",
        "give the preconditioner as a matrix, or gauss_newton its prior_variance",
    )
    d = mixture.dimension
    eye = torch.eye(d, dtype=mixture.dtype, device=mixture.device)
    within = torch.zeros_like(eye)
    for index in torch.arange(len(mixture.weights), device=mixture.device).split(chunk):
        L = mixture.factor_product(index, eye.expand(len(index), d, d))
        within = within + torch.einsum("n,nij,nkj->ik", mixture.weights[index], L, L)
    return mixture_moments(mixture.weights, mixture.means, within)[1]


def symmetric_factor(C: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """L with L L^T = C; directions without variance get the rounding error of the largest."""
    values, vectors = torch.linalg.eigh(C)
    return vectors * values.clamp(min=torch.finfo(C.dtype).eps * float(values[-1])).sqrt()
