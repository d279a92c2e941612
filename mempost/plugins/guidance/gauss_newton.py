"""Guidance by a Gauss-Newton step at the denoised mean, for stiff and nonlinear problems.

With m = E[x | z_t], whitened residual r and whitened Jacobian A at m, and a covariance C for x
given z_t, the data are y ~ N(F(m), A C A^T + I) in units of the noise, so that

    grad log p(y | z_t) = J^T A^T (A C A^T + I)^-1 r = J^T u,     (I + A^T A C) u = A^T r,

J = dm/dz_t. With C = Cov[x | z_t] = (s^2/a) J^T this moves the denoised mean by C u: the Kalman
update, which cannot overshoot the data however small the noise. Where the prior is Gaussian and F
linear it is exact. The equations are solved by conjugate gradients in the inner product of C;
H = A^T A acts through one jvp and one vjp of F, or through its Jacobian.

References: Boys, Girolami, Pidstrigach, Reich, Mosca & Akyildiz 2023, "Tweedie moment projected
diffusions for inverse problems"; Rozet, Andry, Lanusse & Louppe 2024, "Learning diffusion priors
from observations by expectation maximization" (conjugate gradients with Cov[x | z_t]); Song,
Vahdat, Mardani & Kautz 2023, "Pseudoinverse-guided diffusion models for inverse problems"
(C = r^2 I).
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.autodiff import Product, value_and_products
from mempost.core.conjugate_gradient import solve_update
from mempost.core.denoised import Denoised
from mempost.core.guidance import Guidance
from mempost.core.problem import InverseProblem
from mempost.methods.bibliography import BOYS_2023_TMPD, ROZET_2024_MMPS, SONG_2023_PIGDM


class GaussNewtonGuidance(Guidance):
    """Guidance by a Gauss-Newton step with the covariance of x given z_t.

    Noise level: used, at its true value. Assumes: p(x | z_t) is Gaussian and F linear within its
    spread; exact for a Gaussian prior and a linear operator (``covariance: denoiser``). Any
    differentiable operator. Cost of a step: one denoiser call, one forward map and one pullback,
    and an iteration of conjugate gradients takes one pullback through the denoiser (none for
    ``isotropic``) and one jvp and vjp of F (``matrix_free``) or a d x d product (``jacobian``,
    which costs one Jacobian a step: the choice for expensive operators with few unknowns).
    """

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    publications = (
        BOYS_2023_TMPD,
        ROZET_2024_MMPS,
        SONG_2023_PIGDM,
    )

    remedy = "take more steps"

    covariance: Literal["denoiser", "isotropic"] = Field(
        "denoiser",
        description="C: Cov[x | z_t] from the denoiser's Jacobian, or r^2 I with "
        "1/r^2 = 1/prior_variance + a^2/s^2",
    )
    prior_variance: float = Field(
        1.0, gt=0, description="variance of a coordinate of x under the prior, for isotropic"
    )
    linearisation: Literal["matrix_free", "jacobian"] = "matrix_free"
    tolerance: float = Field(1e-4, gt=0, lt=1, description="relative residual of the solution")
    max_iterations: int = Field(100, ge=1, description="most iterations of conjugate gradients")

    def check(self, problem: InverseProblem) -> None:
        problem.gaussian("gauss_newton")

    def likelihood_score(self, problem: InverseProblem, at: Denoised) -> Float[Tensor, "batch d"]:
        hessian, gradient = self._linearise(problem, at.mean)
        isotropic = self.covariance == "isotropic"
        covariance = self._scalar(at) if isotropic else at.covariance_product
        u, shift = solve_update(hessian, covariance, gradient, self.tolerance, self.max_iterations)
        return at.vjp(u) if isotropic else at.a / at.s**2 * shift

    def _scalar(self, at: Denoised) -> Product:
        r2 = 1 / (1 / self.prior_variance + (at.a / at.s) ** 2)
        return lambda v: r2 * v

    def _linearise(
        self, problem: InverseProblem, mean: Tensor
    ) -> tuple[Product, Float[Tensor, "batch d"]]:
        """v -> A^T A v at the denoised mean, and A^T r."""
        if self.linearisation == "jacobian":
            r, A = problem.linearise(mean)
            H = A.mT @ A
            return lambda v: (H @ v[..., None])[..., 0], (A.mT @ r[..., None])[..., 0]
        r, jvp, vjp = value_and_products(problem.whitened_residual, mean)
        return lambda v: vjp(jvp(v)), -vjp(r)
