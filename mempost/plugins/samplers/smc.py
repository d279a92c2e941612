"""Sequential Monte Carlo: a population that is led from the prior to the posterior.

    p_beta(x) proportional to p(x) p(y | x)^beta,      0 = beta_0 < beta_1 < ... < beta_K = 1

Every stage raises beta as far as the weights allow, resamples, and moves the particles by
Metropolis-adjusted Langevin steps that leave p_beta invariant (see `tempered_population`). At
beta = 1 the particles carry equal weights. The product of the mean weights of all stages is an
unbiased estimate of the evidence p(y), but for the adaptation.

Particles need not cross between modes: how many are in each is set by the weights on the way, with
an error that falls as one over the root of their number. This is what a chain cannot do.

References: Del Moral, Doucet & Jasra 2006, "Sequential Monte Carlo samplers"; Chopin &
Papaspiliopoulos 2020, "An introduction to sequential Monte Carlo", chapter 17.
"""

from __future__ import annotations

import time

import torch
from pydantic import Field

from mempost.core import keeping
from mempost.core.errors import NonFiniteError, PluginError
from mempost.core.prior import State
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.sampler import Samples, TiledSampler
from mempost.core.streams import TILE, Streams
from mempost.methods.bibliography import (
    CHOPIN_2020_SMC,
    DELMORAL_2006_SMC,
    JASRA_2011_INFERENCE,
    TITSIAS_2023_FISHER,
)
from mempost.methods.chains.markov_chain import require_density
from mempost.methods.chains.populations import pooled
from mempost.methods.chains.tempered_population import TemperedPopulation

_SECONDS = 5.0
"""Time between two kept states of a population."""


class SMC(TiledSampler):
    """Tempered sequential Monte Carlo: a population moved from the prior to the posterior.

    Exact up to the Monte-Carlo error of its populations, with a bias of one over the size of all.
    Separated modes get the right masses. Populations of ``particles`` are independent of one
    another, so workers share them, and count as their estimates of the evidence say; what comes
    beyond the number of draws asked for is left out.

    Noise level: used. Assumes: a differentiable operator and a prior with a log density. Cost of a
    move: a forward map, a pullback and a gradient of the log density a particle. A stage takes
    about five moves in one dimension and twenty in forty; there are three stages in the problems of
    Figure 1, and 34 where the data narrow some of forty directions by 400.

    Statistics of a draw: ``log_density`` up to the evidence. Of the particles, population by
    population: ``origin`` (the particle of the prior that it descends from), ``log_evidence``,
    ``population`` (its number), ``stages``, and ``acceptance`` of the last move.
    """

    tags = frozenset({"exact", "uses_noise_level", "needs_gradient", "interacting"})
    publications = (DELMORAL_2006_SMC, JASRA_2011_INFERENCE, TITSIAS_2023_FISHER, CHOPIN_2020_SMC)

    particles: int = Field(
        512, ge=TILE, multiple_of=TILE, description="particles of a population", examples=[256]
    )
    ess_share: float = Field(
        0.5, gt=0, lt=1, description="effective sample size of a stage's weights over particles"
    )
    relaxation: float = Field(
        3.0, gt=0, description="Langevin time that a stage moves for; a Gaussian relaxes by exp(-t)"
    )
    max_moves: int = Field(100, ge=1, description="moves after which a stage ends in any case")
    target_acceptance: float = Field(0.574, gt=0, lt=1)

    @property
    def tile_size(self) -> int:
        return self.particles

    def check(self, problem: InverseProblem) -> None:
        require_density("smc", problem)
        if self.particles < 2 * problem.dimension:
            raise PluginError(
                f"smc: {self.particles} particles, and {problem.dimension} unknowns take twice as "
                "many at least"
            )

    def sample_tile(
        self, problem: InverseProblem, tile: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        self.check(problem)
        name = self._name(problem, tile, streams)
        kept = keeping.load(name)
        if kept is None:
            step, population = 0, self._start(problem, tile, streams)
        else:
            tensors = {k: v.to(problem.prior.device) for k, v in kept.tensors.items()}
            values = {k: v for k, v in kept.values.items() if k != "step"}
            step, population = kept.values["step"], TemperedPopulation(tensors, **values)
        saved = time.monotonic()
        while population.beta < 1 or not self._is_relaxed(population):
            step += 1
            population = self._advance(problem, population, tile, step, streams)
            progress(
                round(100 * population.beta),
                100,
                f"stage {population.stage}, exponent {population.beta:.2g}",
            )
            if time.monotonic() - saved > _SECONDS:
                keeping.save(name, State(population.tensors, {**population.values, "step": step}))
                saved = time.monotonic()
        keeping.drop(name)
        return _samples(population, tile)

    def join(self, tiles: list[Samples], n: int, streams: Streams) -> Samples:
        evidences = [float(tile.stats["log_evidence"][-1, 0]) for tile in tiles]
        return pooled(tiles, evidences, n, streams, of_draws=("log_density",))

    def _start(self, problem: InverseProblem, tile: int, streams: Streams) -> TemperedPopulation:
        try:
            return TemperedPopulation.start(problem, self.particles, streams.at(tile, 0))
        except NonFiniteError as error:
            raise self._placed(error, tile, 0) from error

    def _is_relaxed(self, population: TemperedPopulation) -> bool:
        """Whether a stage has moved for long enough."""
        return population.time >= self.relaxation or population.moves >= self.max_moves

    def _advance(
        self,
        problem: InverseProblem,
        population: TemperedPopulation,
        tile: int,
        step: int,
        streams: Streams,
    ) -> TemperedPopulation:
        """A move, or the beginning of the next stage."""
        stream = streams.at(tile, step)
        if self._is_relaxed(population):
            return population.temper(self.ess_share, stream)
        try:
            return population.move(problem, self.target_acceptance, stream)
        except NonFiniteError as error:
            raise self._placed(error, tile, step, population) from error

    def _placed(
        self,
        error: NonFiniteError,
        tile: int,
        step: int,
        population: TemperedPopulation | None = None,
    ) -> NonFiniteError:
        """The error with its step, its sample among all and the state before."""
        sample = None if error.sample is None else tile * self.particles + error.sample
        state = None if population is None else population.tensors
        return NonFiniteError(error.quantity, step, sample, state)

    def _name(self, problem: InverseProblem, tile: int, streams: Streams) -> str:
        """What a population is kept under: it depends on all of these and on nothing else."""
        prior = problem.prior.state()
        parts = [x for name in sorted(prior.tensors) for x in (name, prior.tensors[name])]
        words = (type(problem.prior).__name__, repr(sorted(prior.values.items())))
        where = (problem.noise, problem.y, str(streams), tile)
        return f"smc_{keeping.content_hash(self, problem.operator, *where, *words, *parts)}"


def _samples(population: TemperedPopulation, tile: int) -> Samples:
    """The particles, one draw each, with their statistics and those of their population."""
    t = population.tensors
    like = t["log_likelihood"]
    stats = {
        "log_density": t["log_prior"] + like,
        "origin": t["origin"],
        "log_evidence": torch.full_like(like, population.log_evidence),
        "population": torch.full_like(t["origin"], tile),
        "stages": torch.full_like(t["origin"], population.stage),
        "acceptance": torch.full_like(like, population.acceptance),
    }
    return Samples(t["x"][:, None], {name: value[:, None] for name, value in stats.items()})
