"""Importance sampling: draws of an approximate posterior, corrected by their weights.

    x_i ~ q,      w_i = p(x_i) p(y | x_i) / q(x_i),      p(y) = E_q[w]

and draw i of n is a copy of x_j with probability w_j / sum w; w is 0 where F(x) is no
number. The proposal q is a sampler whose posterior is closed form with a density, such as the
linearised mixture. Where q is right all
weights are equal; where it is not, the effective sample size says so. The ratio of two densities
has heavy tails if q is narrower than the posterior: see the metric ``importance``.

Reference: Chopin & Papaspiliopoulos 2020, "An introduction to sequential Monte Carlo", chapter 8.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field

from mempost.core.capabilities import HasDensity, require
from mempost.core.errors import NonFiniteError, PluginError
from mempost.core.fields import PluginField
from mempost.core.memory import remember
from mempost.core.posterior import Posterior
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.sampler import PosteriorSampler, Samples, TiledSampler
from mempost.core.streams import TILE, Streams
from mempost.core.tags import Tag
from mempost.methods.bibliography import CHOPIN_2020_SMC
from mempost.methods.chains.markov_chain import require_density
from mempost.methods.chains.populations import pooled
from mempost.methods.chains.weights import log_mean, systematic
from mempost.plugins.samplers.exact_lgm import ExactLGM


class Importance(TiledSampler):
    """Importance resampling: draws of an approximate posterior, kept as their weights say.

    Exact up to the Monte-Carlo error of its weights, with a bias of one over the effective sample
    size of all. Populations of ``population`` draws are resampled within themselves, so workers
    share them, and then count as their mean weights say.

    Noise level: used. Assumes: a proposal in closed form that is nowhere much smaller than the
    posterior, and a prior with a log density. Cost of a draw: one forward map, beside the cost of
    the proposal itself. Statistics: ``proposal_log_weight``, log w of proposal i of a population
    (not of draw i; its mean weight estimates p(y)), and ``ancestor``, the proposal that draw i of
    a population was a copy of.
    """

    tags = frozenset({"exact", "uses_noise_level", "interacting"})
    publications = (CHOPIN_2020_SMC,)

    proposal: Annotated[PosteriorSampler, PluginField("sampler")] = Field(
        default_factory=ExactLGM, description="a sampler whose posterior is closed form"
    )
    population: int = Field(
        1024,
        ge=TILE,
        multiple_of=TILE,
        description="draws that are resampled together",
        examples=[128],
    )

    def _tags(self) -> frozenset[Tag]:
        """The operator is differentiated where the proposal does."""
        return super()._tags() | (self.proposal.tags & {"needs_gradient"})

    @property
    def tile_size(self) -> int:
        return self.population

    @property
    def preparations(self) -> int:
        return self.proposal.preparations

    def prepare(self, problem: InverseProblem, part: int, progress: Progress = silent) -> None:
        self.proposal.prepare(problem, part, progress)

    def check(self, problem: InverseProblem) -> None:
        self.proposal.check(problem)
        require_density("importance", problem)

    def sample_tile(
        self, problem: InverseProblem, tile: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        q = _posterior(self.proposal, problem)
        density = require(q, HasDensity, "importance", "take a proposal with one")
        parts = self.population // TILE
        draws, log_weights = [], []
        for k in range(parts):
            x = q.draw_tile(streams.at(tile * parts + k))
            weight = problem.log_density(x) - density.log_density(x)
            draws.append(x)
            log_weights.append(weight.where(torch.isfinite(weight), -math.inf))
            progress(k + 1, parts)
        log_weight = torch.cat(log_weights)
        if not torch.isfinite(log_weight).any():
            raise NonFiniteError("every log weight", sample=tile * self.population)
        ancestor = systematic(log_weight, streams.at(tile, 1))
        stats = {"proposal_log_weight": log_weight[:, None], "ancestor": ancestor[:, None]}
        return Samples(torch.cat(draws)[ancestor, None], stats)

    def join(self, tiles: list[Samples], n: int, streams: Streams) -> Samples:
        evidences = [log_mean(tile.stats["proposal_log_weight"].flatten())[0] for tile in tiles]
        return pooled(tiles, evidences, n, streams)


def _posterior(proposal: PosteriorSampler, problem: InverseProblem) -> Posterior:
    """The proposal on this very problem, remembered from one population to the next."""

    def make() -> Posterior:
        q = proposal.posterior(problem)
        if q is None:
            raise PluginError(
                f"importance: {type(proposal).__name__} has no posterior in closed form to propose "
                "from; exact_lgm has"
            )
        return q

    return remember(make, "proposal", proposal, problem.prior, problem.question)
