"""Diffusion posterior sampling: reverse diffusion, guided at the denoised mean by a named rule.

    grad log p(y | z_t)  is approximated from  m = E[x | z_t] alone.

The rules are guidances: ``gaussian``, ``residual_norm`` and ``unit_gradient``; any other may be
named. None of the three is exact, even for a Gaussian prior and a linear operator.

Reference: Chung, Kim, Mccann, Klasky & Ye 2023, "Diffusion posterior sampling for general noisy
inverse problems".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mempost.core.fields import PluginField, named
from mempost.core.guidance import Guidance
from mempost.core.reverse import ReverseSampler
from mempost.methods.bibliography import CHUNG_2023_DPS


class DPS(ReverseSampler):
    """Diffusion posterior sampling by a named rule: gaussian, residual_norm or unit_gradient.

    ``gaussian`` and ``residual_norm`` use the noise level, ``unit_gradient`` does not. Operators
    have to be differentiable and may be nonlinear and complex. Costs and assumptions stand with
    the rules.
    """

    publications = (CHUNG_2023_DPS,)

    rule: Annotated[Guidance, PluginField("guidance")] = Field(
        default_factory=named("guidance", "gaussian"), description="how the data guide the samples"
    )

    @property
    def guide(self) -> Guidance:
        return self.rule
