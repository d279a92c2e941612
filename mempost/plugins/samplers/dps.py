"""Diffusion posterior sampling: reverse diffusion, guided at the denoised mean by a named rule.

    grad log p(y | z_t)  is approximated from  m = E[x | z_t] alone.

The rules are guidances: ``gaussian``, ``published``, ``residual_norm`` and ``unit_gradient``; any
other may be named. None of the four is exact, even for a Gaussian prior and a linear operator.

Steps are ancestral by default, as published: without new noise (``solver: ddim``) the sharp
likelihood at the denoised mean draws all paths to one point. There are as many as published too,
since explicit steps are stable only while their share of log(s/a) times lambda/4 is below 2, where
lambda is the ratio of prior to data variance in the best observed direction; with 1000 of them
that goes to a lambda of about 1000.

Reference: Chung, Kim, Mccann, Klasky & Ye 2023, "Diffusion posterior sampling for general noisy
inverse problems".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mempost.core.fields import PluginField, named
from mempost.core.guidance import Guidance
from mempost.core.reverse import ReverseSampler
from mempost.core.solver import Solver
from mempost.methods.bibliography import CHUNG_2023_DPS


class DPS(ReverseSampler):
    """Diffusion posterior sampling by a named rule: gaussian, published or another.

    ``gaussian`` and ``residual_norm`` use the noise level, ``published`` and ``unit_gradient`` do
    not. Operators have to be differentiable and may be nonlinear and complex. Costs and assumptions
    stand with the rules.
    """

    publications = (CHUNG_2023_DPS,)

    steps: int = Field(1000, ge=1, description="steps, the last one to x", examples=[12])
    solver: Annotated[Solver, PluginField("solver")] = Field(
        default_factory=named("solver", {"type": "ddim", "eta": 1.0}),
        description="what moves z from level to level; ancestral steps by default",
    )

    rule: Annotated[Guidance, PluginField("guidance")] = Field(
        default_factory=named("guidance", "gaussian"), description="how the data guide the samples"
    )

    @property
    def guide(self) -> Guidance:
        return self.rule
