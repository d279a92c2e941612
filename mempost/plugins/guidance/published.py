"""Diffusion posterior sampling as published: after the step, down the gradient of the misfit.

After the step of the sampler from z to z', with m = E[x | z], J = dm/dz, A the Jacobian of F at m
and r = y - F(m), all at the state before the step,

    z'  <-  z' - zeta_i grad_z |r|^2,        zeta_i = zeta / |r|,
    that is   z' + 2 zeta J^T A^T r / |r|.

This is algorithm 1 of the paper if the step is ancestral (``solver: {type: ddim, eta: 1}``, the
default of `dps`) and the levels are those of the trained chain (``schedule: vp_discrete`` with as
many ``steps``, ``start: standard_normal``). The code that goes with the paper steps along grad |r|
instead of grad |r|^2/|r|, which is half of the move: ``gradient: norm``. Norms are taken per
sample; the code takes one over the batch.

The noise level does not occur, and moves get no shorter where the data are met: they have the
length 2 zeta |J^T A^T r|/|r|. Where there are few data the draws end by jumping about them, and
their spread grows with zeta, which takes the part of the noise level. The rule ``residual_norm``
weights the likelihood score, with its 1/gamma^2, by the same 2 zeta/|r|, and the step multiplies it
by s^2/a: there a larger zeta means sharper data, and the spread falls. ``unit_gradient`` moves by a
fixed length, at the new state and without the network's derivative.

Reference: Chung, Kim, Mccann, Klasky & Ye 2023, "Diffusion posterior sampling for general noisy
inverse problems", algorithm 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.denoised import Denoised
from mempost.core.guidance import Correction
from mempost.core.problem import InverseProblem
from mempost.core.solver import Step
from mempost.methods.bibliography import CHUNG_2023_DPS


class Published(Correction):
    """DPS as published: a move of -zeta/|r| grad |r|^2 after every step; the noise level is unused.

    Assumes p(x | z_t) is an atom at its mean, and replaces the noise level by zeta. Any
    differentiable operator. Cost of a step: one denoiser call, one forward map, one pullback
    through each.
    """

    tags = frozenset({"needs_gradient"})
    publications = (CHUNG_2023_DPS,)
    remedy = "take a smaller zeta: moves do not get shorter near the data"

    zeta: float = Field(1.0, gt=0, description="zeta' of algorithm 1: size of the move")
    gradient: Literal["squared", "norm"] = Field(
        "squared", description="of |r|^2/|r| (algorithm 1), or of |r| (the code): half of that"
    )

    def correct(
        self,
        problem: InverseProblem,
        at: Denoised,
        z_next: Float[Tensor, "batch d"],
        step: Step,
    ) -> Float[Tensor, "batch d"]:
        residual, ascent = problem.misfit_ascent(at.mean)
        norm = residual.norm(dim=-1, keepdim=True)
        weight = torch.where(norm > 0, self.zeta / norm, 0)
        if self.gradient == "squared":
            weight = 2 * weight
        return z_next + at.vjp(weight * ascent)
