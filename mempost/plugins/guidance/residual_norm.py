"""The likelihood at the denoised mean, weighted by the inverse norm of the residual.

With m = E[x | z_t], J = dm/dz_t, A the Jacobian of F at m and r = y - F(m),

    grad log p(y | z_t)  is taken as  (2 zeta / |r|) J^T A^T r / gamma^2.

This is the step rule of Chung et al. (2023) as a score, in the form that Burns & Fridovich-Keil
(2026) examine, with the noise level kept. Norms are taken per sample and over the real components
of the data.

It is not the published algorithm (`published`), whose move stands outside of the score: there
zeta takes the place of the noise level and the spread of the draws grows with it; here zeta
multiplies a likelihood of its own noise level, and the spread falls.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.denoised import Denoised
from mempost.core.guidance import Guidance
from mempost.core.problem import InverseProblem
from mempost.methods.bibliography import BURNS_2026_LENS, CHUNG_2023_DPS


class ResidualNorm(Guidance):
    """The gaussian rule with a weight of 2 zeta / |y - F(m)|.

    The weight bounds the pull far from the data and has no probabilistic meaning: zeta trades
    hallucinated modes for collapsed ones. Any differentiable operator; cost as for ``gaussian``.
    """

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    publications = (CHUNG_2023_DPS, BURNS_2026_LENS)
    remedy = "take a smaller zeta, or more steps"

    zeta: float = Field(1.0, gt=0, description="strength of the guidance")

    def likelihood_score(self, problem: InverseProblem, at: Denoised) -> Float[Tensor, "batch d"]:
        residual, ascent = problem.likelihood_ascent(at.mean)
        norm = residual.norm(dim=-1, keepdim=True)
        weight = torch.where(norm > 0, 2 * self.zeta / norm, 0)
        return at.vjp(weight * ascent)
