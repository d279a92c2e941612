"""Draws made wrong on purpose: to show that a diagnostic sees what it should.

    x' = m + scale (x - m) + shift s,

with m and s the mean and the standard deviations of what the wrapped sampler answers: in closed
form where it has one, else of its draws for the same data. ``scale`` 0.8 gives a posterior 20 % too
narrow, ``shift`` 0.5 one that lies half a standard deviation too high in every coordinate.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mempost.core.fields import PluginField
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.sampler import ExactSampler, PosteriorSampler, Samples
from mempost.core.streams import Streams
from mempost.core.tags import Tag


class Distorted(PosteriorSampler):
    """Another sampler's draws, scaled about their mean and shifted: a posterior known to be wrong.

    For testing diagnostics. It needs what the wrapped sampler needs.
    """

    sampler: Annotated[PosteriorSampler, PluginField("sampler")] = Field(
        description="the sampler whose draws are distorted",
        examples=[{"type": "finite_sample_weights"}],
    )
    scale: float = Field(1.0, ge=0, description="of the draws about their mean", examples=[0.8])
    shift: float = Field(
        0.0, description="of every coordinate, in standard deviations", examples=[0.5]
    )

    def _tags(self) -> frozenset[Tag]:
        """Those of the wrapped sampler, but wrong on purpose.

        Where the mean is that of the draws themselves, they depend on one another.
        """
        found = self.sampler.tags - ({"exact"} if (self.scale, self.shift) != (1, 0) else set())
        return found | (set() if isinstance(self.sampler, ExactSampler) else {"interacting"})

    @property
    def needs_question(self) -> bool:
        return self.sampler.needs_question

    def nfe(self, prior: FittedPrior) -> int | None:
        return self.sampler.nfe(prior)

    @property
    def preparations(self) -> int:
        return self.sampler.preparations

    def prepare(self, problem: InverseProblem, part: int, progress: Progress = silent) -> None:
        self.sampler.prepare(problem, part, progress)

    def check(self, problem: InverseProblem) -> None:
        self.sampler.check(problem)

    def sample(
        self, problem: InverseProblem, n: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        posterior = self.sampler.posterior(problem)
        if posterior is not None and isinstance(self.sampler, ExactSampler):
            drawn = Samples.independent(posterior.sample(n, streams))  # the posterior made once
            progress(n, n)
        else:
            drawn = self.sampler.sample(problem, n, streams, progress)
        if posterior is not None:
            mean, std = posterior.mean(), posterior.std()
        else:
            mean = drawn.flat.mean(0)
            std = drawn.flat.std(0, correction=int(len(drawn) > 1))
        return Samples(mean + self.scale * (drawn.values - mean) + self.shift * std, drawn.stats)
