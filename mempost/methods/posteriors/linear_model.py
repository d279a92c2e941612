"""The whitened linear model r(x) = b - A x, and its singular value decomposition.

For y = G x + c + n with Gaussian noise, A and b are G and y - c whitened, so that b = A x + e with
e ~ N(0, I): A = G/gamma and b = (y - c)/gamma for noise of one standard deviation gamma. Complex
data are stacked, missing ones left out. With A = U diag(S) V^T the Gaussian update under a
covariance v I, for a scalar v of every sample, is diagonal:

    A^T (v A A^T + I)^-1 r = V diag(S / (1 + v S^2)) U^T r.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.memory import remember
from mempost.core.problem import InverseProblem


class Spectrum(NamedTuple):
    """A = U diag(S) V^T with p = min(m, d)."""

    U: Float[Tensor, "m p"]
    S: Float[Tensor, " p"]
    Vt: Float[Tensor, "p d"]


@dataclass(frozen=True, eq=False)
class LinearModel:
    """b = A x + e, e ~ N(0, I).

    Attributes:
        A: whitened matrix (m, d).
        b: whitened data (m,).
    """

    A: Float[Tensor, "m d"]
    b: Float[Tensor, " m"]

    @property
    def spectrum(self) -> Spectrum:
        """The singular value decomposition of A."""
        return remember(
            lambda: Spectrum(*torch.linalg.svd(self.A, full_matrices=False)), "spectrum", self.A
        )

    def residual(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch m"]:
        """r(x) = b - A x."""
        return self.b - x @ self.A.T

    def update(
        self, x: Float[Tensor, "batch d"], variance: Float[Tensor, "#batch 1"]
    ) -> Float[Tensor, "batch d"]:
        """A^T (v A A^T + I)^-1 r(x): times v, the shift of a mean x with covariance v I."""
        U, S, Vt = self.spectrum
        return (self.residual(x) @ U * (S / (1 + variance * S**2))) @ Vt


def linear_model(problem: InverseProblem) -> LinearModel:
    """The model of a problem; all data share A and its spectrum, which are made once."""

    def make() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            c, A = problem.tangent(prior.coordinates.location.new_zeros(1, prior.dimension))
        return c[0], A[0]

    prior, operator, noise = problem.prior, problem.operator, problem.noise
    where = (prior.shape, prior.dtype, prior.device)
    c, A = remember(make, "linear model", operator, noise, *where)
    return LinearModel(A, problem.gaussian().whiten(problem.y.flatten() - c))


def require_linear(problem: InverseProblem, name: str) -> None:
    """Refuse nonlinear operators, and noise that is not Gaussian.

    Raises:
        PluginError: the problem has one of them.
    """
    problem.gaussian(name)
    if not problem.operator.is_linear:
        found = type(problem.operator).__name__
        raise PluginError(
            f"{name} is for linear operators, and {found} is not; gauss_newton_dps, dps and daps "
            "take nonlinear ones"
        )
