"""Diffusion posterior sampling: reverse diffusion, guided at the denoised mean.

    grad log p(y | z_t)  is approximated from  m = E[x | z_t] alone,

by one of three named rules: `Gaussian` and `ResidualNorm` in `mempost.plugins.samplers.dps_rules`,
`UnitGradient` in `mempost.plugins.samplers.unit_gradient`. None of them is exact, even for a
Gaussian prior and a linear operator.
"""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.problem import InverseProblem
from mempost.core.reverse import Denoised, ReverseSampler, Step
from mempost.core.streams import Stream
from mempost.core.tags import Tag
from mempost.core.variants import ONE_OF
from mempost.plugins.bibliography import (
    BURNS_2026_LENS,
    CHUNG_2023_DPS,
    SIAHKOOHI_2026_MEMORIZATION,
)
from mempost.plugins.samplers.dps_rules import Gaussian, ResidualNorm
from mempost.plugins.samplers.unit_gradient import UnitGradient

Rule = Annotated[Gaussian | ResidualNorm | UnitGradient, ONE_OF]


class DPS(ReverseSampler):
    """Diffusion posterior sampling by a named rule: gaussian, residual_norm or unit_gradient.

    ``gaussian`` and ``residual_norm`` use the noise level, ``unit_gradient`` does not. Operators
    have to be differentiable and may be nonlinear and complex. Costs and assumptions stand with
    the rules. A subclass with another guidance overrides ``likelihood_score``.
    """

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    publications = (CHUNG_2023_DPS, BURNS_2026_LENS, SIAHKOOHI_2026_MEMORIZATION)

    rule: Rule = Field(default_factory=Gaussian, description="how the data guide the samples")

    def _tags(self) -> frozenset[Tag]:
        """The noise level is used where the rule does."""
        return super()._tags() - (set() if self.rule.uses_noise_level else {"uses_noise_level"})

    @property
    def nfe(self) -> int:
        return super().nfe + sum(self.rule.correction_calls(step) for step in self.reverse_steps)

    def likelihood_score(
        self, problem: InverseProblem, at: Denoised
    ) -> Float[Tensor, "batch d"] | None:
        return self.rule.likelihood_score(problem, at)

    def correct(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        return self.rule.correct(problem, z, step)
