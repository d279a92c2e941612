"""Pseudoinverse-guided diffusion: x given z_t as an isotropic Gaussian.

With m = E[x | z_t], J = dm/dz_t and p(x | z_t) taken as N(m, v I), whitened data are N(A m, v A A^T
+ I) and

    grad log p(y | z_t)  is taken as  J^T A^T (v A A^T + I)^-1 r,        r = b - A m.

Two values of v are in use, and they are far apart at large noise:

    ratio        v = s^2/a^2              grows without bound, (1 - abar)/abar for VP
    unit_prior   v = s^2/(a^2 + s^2)      Cov[x | z_t] under the prior N(0, I), 1 - abar for VP

The second makes the method exact for that prior. Where the prior has modes, Cov[x | z_t] is neither
isotropic nor the same for all z_t: v is too large near a mode and leaves mass on wrong ones.

References: Song, Vahdat, Mardani & Kautz 2023, "Pseudoinverse-guided diffusion models for inverse
problems" (unit_prior); Burns & Fridovich-Keil 2026, "When, why, and how do diffusion posterior
samplers fail? A finite-sample lens" (ratio, as in their code).
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.denoised import Denoised
from mempost.core.guidance import Guidance
from mempost.core.problem import InverseProblem
from mempost.methods.bibliography import BURNS_2026_LENS, SONG_2023_PIGDM
from mempost.methods.posteriors.linear_model import linear_model, require_linear


class PiGDMGuidance(Guidance):
    """Pseudoinverse guidance (linear operators), with either of its two variances.

    Noise level: used, at its true value. Assumes: p(x | z_t) is Gaussian with covariance v I; exact
    for the prior N(0, I) and ``unit_prior``. Linear operators only. Cost: one singular value
    decomposition in all; of a step, one denoiser call and one pullback.
    """

    tags = frozenset({"linear", "needs_gradient", "uses_noise_level"})
    publications = (
        SONG_2023_PIGDM,
        BURNS_2026_LENS,
    )

    variance: Literal["unit_prior", "ratio"] = Field(
        "unit_prior", description="v: s^2/(a^2 + s^2) or s^2/a^2"
    )

    def check(self, problem: InverseProblem) -> None:
        require_linear(problem, "pigdm")

    def likelihood_score(self, problem: InverseProblem, at: Denoised) -> Float[Tensor, "batch d"]:
        v = (at.s / at.a) ** 2
        if self.variance == "unit_prior":
            v = v / (1 + v)
        return at.vjp(linear_model(problem).update(at.mean, v))
