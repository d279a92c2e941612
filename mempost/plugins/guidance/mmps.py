"""Moment matching posterior sampling: the guidance of TMPD, matrix-free by conjugate gradients.

With m = E[x | z_t], J = dm/dz_t and C = Cov[x | z_t] = (s^2/a) J^T, p(x | z_t) is taken as N(m, C)
and

    grad log p(y | z_t)  is taken as  J^T u,        u = A^T (A C A^T + I)^-1 r,   r = b - A m.

Products with C cost a pullback each, and a few iterations do: conjugate gradients cut off early see
the large eigenvalues of A C A^T first, and those matter most. The matrix of the operator is never
formed, so that this is the version of `tmpd` for many data.

Reference: Rozet, Andry, Lanusse & Louppe 2024, "Learning diffusion priors from observations by
expectation maximization".
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.autodiff import value_and_products
from mempost.core.conjugate_gradient import solve_update
from mempost.core.denoised import Denoised
from mempost.core.guidance import Guidance
from mempost.core.problem import InverseProblem
from mempost.methods.bibliography import ROZET_2024_MMPS
from mempost.methods.posteriors.linear_model import require_linear


class MMPSGuidance(Guidance):
    """Moment matching (linear operators): TMPD for many data.

    Noise level: used, at its true value. Assumes: p(x | z_t) is Gaussian, its covariance locally
    constant; exact for a Gaussian prior once the iterations have converged. Linear operators only
    (`gauss_newton_dps` linearises others). Cost of a step: one denoiser call, and an iteration
    takes one pullback through it, one product with A and one with A^T.
    """

    tags = frozenset({"linear", "needs_gradient", "uses_noise_level"})
    publications = (ROZET_2024_MMPS,)

    iterations: int = Field(5, ge=1, description="most iterations of conjugate gradients a step")
    tolerance: float = Field(1e-6, gt=0, lt=1, description="relative residual at which they stop")

    def check(self, problem: InverseProblem) -> None:
        require_linear(problem, "mmps")

    def likelihood_score(self, problem: InverseProblem, at: Denoised) -> Float[Tensor, "batch d"]:
        r, jvp, vjp = value_and_products(problem.whitened_residual, at.mean)
        _, shift = solve_update(
            lambda v: vjp(jvp(v)), at.covariance_product, -vjp(r), self.tolerance, self.iterations
        )
        return at.a / at.s**2 * shift
