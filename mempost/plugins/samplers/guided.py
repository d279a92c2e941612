"""Reverse diffusion under any guidance: a guidance, a solver, a schedule and a start."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mempost.core.fields import PluginField, named
from mempost.core.guidance import Guidance
from mempost.core.reverse import ReverseSampler


class Guided(ReverseSampler):
    """Reverse diffusion under the guidance that is named; its assumptions and costs stand there."""

    guidance: Annotated[Guidance, PluginField("guidance")] = Field(
        default_factory=named("guidance", "gauss_newton"), description="how the data guide"
    )

    @property
    def guide(self) -> Guidance:
        return self.guidance
