"""The likelihood at the denoised mean, as if p(x | z_t) were an atom there.

With m = E[x | z_t], J = dm/dz_t and A the Jacobian of F at m,

    grad log p(y | z_t)  is taken as  J^T grad_m log p(y | m) = J^T A^T (y - F(m)) / gamma^2.

Reference: Chung, Kim, Mccann, Klasky & Ye 2023, "Diffusion posterior sampling for general noisy
inverse problems" (the approximation; their step rule is another, see `published`).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from mempost.core.denoised import Denoised
from mempost.core.guidance import Guidance
from mempost.core.problem import InverseProblem
from mempost.methods.bibliography import CHUNG_2023_DPS


class Gaussian(Guidance):
    """The likelihood at the denoised mean, with the true noise level.

    Assumes p(x | z_t) is an atom at its mean, so that the likelihood is sharper than the truth: the
    spread of z_t comes out too small. Any differentiable operator. Cost of a step: one denoiser
    call, one forward map, one pullback through each. The explicit step diverges once its size
    times the curvature J^T A^T A J/gamma^2 exceeds 2.
    """

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    publications = (CHUNG_2023_DPS,)

    def likelihood_score(self, problem: InverseProblem, at: Denoised) -> Float[Tensor, "batch d"]:
        _, ascent = problem.likelihood_ascent(at.mean)
        return at.vjp(ascent)
