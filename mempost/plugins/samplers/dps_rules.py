"""Guidance rules of diffusion posterior sampling that are scores of a likelihood.

All of them evaluate the likelihood at the denoised mean m = E[x | z_t], as if p(x | z_t) were an
atom there, and pull the gradient back through the Jacobian J = dm/dz_t:

    gaussian        J^T grad_m log p(y | m)                        = J^T A^T (y - F(m)) / gamma^2
    residual_norm   (2 zeta / |y - F(m)|) times the rule above

with A the Jacobian of F at m. The first is what the approximation of Chung et al. (2023) says; the
second is their step rule as a score, in the form that Burns & Fridovich-Keil (2026) examine, with
the noise level kept. Norms are taken per sample and over the real components of the data.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.autodiff import value_and_pullback
from mempost.core.noise import stack
from mempost.core.plugin import Recipe
from mempost.core.problem import InverseProblem
from mempost.core.reverse import Denoised, Step


def misfit_ascent(
    problem: InverseProblem, x: Float[Tensor, "batch d"]
) -> tuple[Float[Tensor, "batch m_real"], Float[Tensor, "batch d"]]:
    """Stacked residual r = y - F(x) and A^T r = -grad |r|^2/2, without the noise level.

    One forward map and one pullback.
    """
    residual, pullback = value_and_pullback(lambda u: stack(problem.residual(u)), x)
    return residual, -pullback(residual)


class GuidanceRule(Recipe):
    """A rule: a likelihood score inside the step, or a correction after it."""

    uses_noise_level: ClassVar[bool]

    def likelihood_score(
        self, problem: InverseProblem, at: Denoised
    ) -> Float[Tensor, "batch d"] | None:
        """An approximation of grad log p(y | z_t), or None if the rule only corrects."""
        return None

    def correct(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step
    ) -> Float[Tensor, "batch d"]:
        """The state after the step, corrected."""
        return z

    def correction_calls(self, step: Step) -> int:
        """Denoiser calls of `correct`."""
        return 0


class Gaussian(GuidanceRule):
    """The likelihood at the denoised mean, with the true noise level.

    Assumes p(x | z_t) is an atom at its mean, so that the likelihood is sharper than the truth: the
    spread of z_t comes out too small. Any differentiable operator. Cost of a step: one denoiser
    call, one forward map, one pullback through each. The explicit step diverges once its size
    times the curvature J^T A^T A J/gamma^2 exceeds 2.
    """

    uses_noise_level: ClassVar[bool] = True
    type: Literal["gaussian"] = "gaussian"

    def likelihood_score(
        self, problem: InverseProblem, at: Denoised
    ) -> Float[Tensor, "batch d"] | None:
        _, ascent = misfit_ascent(problem, at.mean)
        return at.vjp(ascent / problem.noise.component_std**2)


class ResidualNorm(GuidanceRule):
    """The gaussian rule with a weight of 2 zeta / |y - F(m)|.

    The weight bounds the pull far from the data and has no probabilistic meaning: zeta trades
    hallucinated modes for collapsed ones. Any differentiable operator; cost as for ``gaussian``.
    """

    uses_noise_level: ClassVar[bool] = True
    type: Literal["residual_norm"] = "residual_norm"
    zeta: float = Field(1.0, gt=0, description="strength of the guidance")

    def likelihood_score(
        self, problem: InverseProblem, at: Denoised
    ) -> Float[Tensor, "batch d"] | None:
        residual, ascent = misfit_ascent(problem, at.mean)
        norm = residual.norm(dim=-1, keepdim=True)
        weight = torch.where(norm > 0, 2 * self.zeta / norm, 0)
        return at.vjp(weight * ascent / problem.noise.component_std**2)
