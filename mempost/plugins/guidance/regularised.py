"""The other order: condition on the data first, then regularise the conditional score.

A regularised prior stands on a base. A guided sampler under it regularises first and conditions
then. Here the denoiser D_y = E[x | z_t, y] of the base under another guidance is regularised as the
prior regularises that of the base; by Tikhonov

    D(u) = (c u + sigma^2 D_y(u)) / (sigma^2 + c).

The two orders differ. Over atoms x_n with D_y exact (guidance ``finite_sample``) the law of z_t
given y is a mixture of noised atoms with the weights q_n = softmax(log pi_n + log p(y | x_n)) at
every level, and the flow ends, by the same argument as without data, on

    sum_n q_n N(x_n, c I)            condition, then regularise

while sqrt(c) is small against the distances of atoms that carry mass, whereas

    p(x | y) under sum_n pi_n N(x_n, c I)            regularise, then condition

is the mixture of ``exact_lgm`` at the bandwidth sqrt(c). The first does not see the data within a
component: for linear F with noise of standard deviation gamma and m data its squared misfit per
datum is sum_n q_n misfit_n + c tr(F'F)/(gamma^2 m).

References: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models"; Burns & Fridovich-Keil 2026, "When, why, and how do diffusion
posterior samplers fail? A finite-sample lens".
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from mempost.core.capabilities import HasBase, require
from mempost.core.fields import PluginField, named
from mempost.core.flow import Denoise
from mempost.core.guidance import Correction, Guidance
from mempost.core.memory import remember
from mempost.core.problem import InverseProblem
from mempost.core.tags import Tag
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION


class Regularised(Guidance):
    """The conditional score of a regularised prior's base, regularised as the prior says.

    Needs a prior over another one: ``tikhonov``, ``empirical_bayes``, ``smoothed``. Noise level,
    assumptions and costs are those of the guidance within, under the base.
    """

    publications = (BAPTISTA_2025_MEMORIZATION,)

    guidance: Annotated[Guidance, PluginField("guidance")] = Field(
        default_factory=named("guidance", "finite_sample"),
        description="how the data guide under the base",
    )

    @model_validator(mode="after")
    def _denoises(self) -> Self:
        if isinstance(self.guidance, Correction):
            name = type(self.guidance).__name__
            raise ValueError(
                f"{name} moves z after the step; a guidance with E[x | z, y] is needed"
            )
        return self

    def _tags(self) -> frozenset[Tag]:
        """Those of the guidance within, but for exactness."""
        return self.guidance.tags - {"exact"}

    def check(self, problem: InverseProblem) -> None:
        require(problem.prior, HasBase, "regularised", "take tikhonov, over any prior")
        self.guidance.check(_under_base(problem))

    def denoiser(self, problem: InverseProblem) -> Denoise:
        prior = require(problem.prior, HasBase, "regularised")
        return prior.over(self.guidance.denoiser(_under_base(problem)))


def _under_base(problem: InverseProblem) -> InverseProblem:
    """The same question under the prior that the problem's stands on."""

    def make() -> InverseProblem:
        base = require(problem.prior, HasBase, "regularised").base
        return InverseProblem(base, *problem.asked)

    return remember(make, "under the base", problem.prior, problem.question)
