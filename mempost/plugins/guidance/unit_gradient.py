"""The unit-gradient rule: steps of fixed length down the misfit, as in published FWI experiments.

After the step of the sampler from level (a, s) to (a', s') comes a second network call, in terms of
the noise estimate e(z; a, s) = (z - a D(z; a, s))/s, and a move of fixed length:

    x   = (z - s' e(z; a, s))/a'              the network still asked at the old level
    g   = A(x)^T (F(x) - y) / a               descent direction of |y - F(x)|^2/2, no noise level
    z  <- z - step_length g/|g|               per sample

In the last step z = x is clean already: a', s' are those of the last noisy level, and the move
displaces the sample by ``step_length`` after denoising. The network is frozen: dx/dz counts as I/a.

With the length fixed the noise level has no effect whatever, and the whole path is no longer than
steps x step_length. Under a memorized prior the frozen network matters: its Jacobian
(a/s^2) Cov[x | z] vanishes once one atom carries all the weight, so that the exact derivative stops
guiding while the frozen one keeps pushing off the training examples. Every peculiarity can be
switched; the defaults are the rule as it was run. Of DPS as published (`published`) it keeps the
ancestor's idea, a move after the step without the noise level: there the misfit is taken before the
step and through the network, and the move is as long as the gradient of |r|.

To rerun it: ``schedule: {type: vp_discrete}``, ``steps: 200``, ``t_min: 0.005``, ``solver: ddim``,
``start: standard_normal``.

Reference: Siahkoohi & Sabeddu 2026, "On the role of memorization in learned priors for geophysical
inverse problems", and the code that goes with it.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.autodiff import value_and_pullback
from mempost.core.denoised import Denoised
from mempost.core.guidance import Correction
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.solver import Step
from mempost.methods.bibliography import SIAHKOOHI_2026_MEMORIZATION


class UnitGradient(Correction):
    """A move of fixed length down the misfit after every step; the noise level is not used.

    Assumes nothing that could be called a likelihood. Any differentiable operator. Cost of a step:
    two denoiser calls, one forward map, one pullback (two for ``jacobian: exact``).
    """

    tags = frozenset({"needs_gradient"})
    publications = (SIAHKOOHI_2026_MEMORIZATION,)
    remedy = "take a smaller step_length"

    step_length: float = Field(
        0.07, gt=0, description="length of the move, or factor of the gradient (see length)"
    )
    second_call: Literal["old_level", "new_level"] = Field(
        "old_level", description="level at which the network is asked again after the step"
    )
    jacobian: Literal["frozen_old_scale", "frozen", "exact"] = Field(
        "frozen_old_scale",
        description="dx/dz: I/a (the old a), I/a' (network constant), or through the network",
    )
    length: Literal["unit", "proportional"] = Field(
        "unit",
        description="move by step_length g/|g|, where a frozen scale cancels, or step_length g",
    )
    move_after_last: bool = Field(
        True, description="whether the clean sample of the last step is moved too"
    )

    def correct(
        self,
        problem: InverseProblem,
        at: Denoised,
        z_next: Float[Tensor, "batch d"],
        step: Step,
    ) -> Float[Tensor, "batch d"]:
        if step.is_clean and not self.move_after_last:
            return z_next
        if self.jacobian == "exact":
            x, pullback = value_and_pullback(lambda u: self._estimate(problem, u, step), z_next)
            ascent = pullback(problem.misfit_ascent(x)[1])
        else:
            _, ascent = problem.misfit_ascent(self._estimate(problem, z_next, step))
            scaled_by = step.level if self.jacobian == "frozen_old_scale" else _noisy(step)
            ascent = ascent / scaled_by.a
        if self.length == "unit":
            norm = ascent.norm(dim=-1, keepdim=True)
            ascent = torch.where(norm == 0, 0, ascent / norm)
        return z_next + self.step_length * ascent

    def calls(self, step: Step) -> int:
        clean_already = self.second_call == "new_level" or not self.move_after_last
        return 0 if step.is_clean and clean_already else 1

    def _estimate(self, problem: InverseProblem, z: Tensor, step: Step) -> Tensor:
        """x as the second network call sees it."""
        if self.second_call == "new_level":
            return z if step.is_clean else problem.prior.denoise(z, step.next_level)
        (a, s), (a_new, s_new) = step.level.columns(z), _noisy(step).columns(z)
        noise = (z - a * problem.prior.denoise(z, step.level)) / s
        return (z - s_new * noise) / a_new


def _noisy(step: Step) -> NoiseLevel:
    """The new level, or the old one where the new one is clean."""
    return step.level if step.is_clean else step.next_level
