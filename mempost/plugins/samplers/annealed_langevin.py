"""Annealed Langevin dynamics: unadjusted steps down the noise levels of the prior.

At each level sigma_1 > ... > sigma_L (sigma = s/a of a schedule), K steps of

    x <- x + h_i (grad log p_sigma_i(x) + w_i grad log p(y | x)) + sqrt(2 h_i) n,  h_i = c sigma_i^2

where p_sigma is the prior with noise of that size added and w_i = gamma^2/(gamma^2 + g^2 sigma_i^2)
widens the likelihood accordingly (``likelihood: annealed``), or w_i = 1. Noise of size sigma on x
is noise of up to g sigma on the data, where g is the norm of the Jacobian of F: by default that at
x, so that units of the data do not matter; g = 1 is the rule as published. The law at the last
level is the posterior of the prior smoothed by sigma_L, reached only as far as the steps carry.

How biased it is: a level with c K sigma_i^2 below the posterior variance v is too short for the
chain to follow, so the result is the law of the level where c K sigma^2 = v or so. Its variance is
off by a relative O(1/(c K)), twice as close for twice the steps, down to a floor of order
sigma_L^2/v. Annealed steps are stable for c < 1 by default, and for c (1 + |J|^2/g^2) < 2 with a g
that is given.

The norm of a nonlinear operator is followed along a chain: a step of the power method where the
chain stands, from the vector of the step before.

References: Song & Ermon 2019, "Generative modeling by estimating gradients of the data
distribution"; Jalal, Arvinte, Daras, Price, Dimakis & Tamir 2021, "Robust compressed sensing MRI
with deep generative priors" (the likelihood annealed with the prior).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.fields import PluginField, named
from mempost.core.iterative import IterativeSampler, SamplerState
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.schedule import NoiseSchedule
from mempost.core.streams import Stream
from mempost.methods.bibliography import JALAL_2021_MRI, SONG_2019_NCSN
from mempost.methods.chains.markov_chain import score_gradient
from mempost.methods.chains.stiffness import (
    data_curvature,
    data_stiffness,
    first_guess,
    largest_eigenvalue,
)

_ANNEALED = "annealed_langevin with likelihood: annealed", "likelihood: fixed takes any noise"


class AnnealedLangevin(IterativeSampler):
    """Annealed Langevin: unadjusted steps at falling noise levels of the prior; biased.

    Noise level: used. Assumes: any prior, a differentiable operator; that every level lasts long
    enough for its law to be reached (see the bias above). Cost of a step: one denoiser call,
    one forward map, one pullback; as much again for a nonlinear operator without ``gain``. One draw
    a chain.
    """

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    publications = (SONG_2019_NCSN, JALAL_2021_MRI)
    remedy = "take a smaller step_size, or a gain above the norm of the operator's derivative"

    schedule: Annotated[NoiseSchedule, PluginField("schedule")] = Field(
        default_factory=named("schedule", {"type": "ve", "sigma_max": 10.0})
    )
    levels: int = Field(20, ge=2, description="noise levels, equally spaced in time")
    t_min: float = Field(0.0, ge=0, lt=1, description="time of the last level")
    steps_per_level: int = Field(50, ge=1, description="K", examples=[2])
    step_size: float = Field(0.5, gt=0, description="c: the step is c sigma^2")
    likelihood: Literal["annealed", "fixed"] = Field(
        "annealed", description="noise variance gamma^2 + g^2 sigma^2 at a level, or gamma^2 at all"
    )
    gain: float | None = Field(
        None, gt=0, description="g: the norm of dF/dx; by default that at x, and 1 as published"
    )

    @model_validator(mode="after")
    def _last_level_is_noisy(self) -> Self:
        if not float(self.schedule.level(self.t_min).s) > 0:
            raise ValueError(
                f"t_min = {self.t_min:g} has no noise in this schedule; it should be above 0"
            )
        return self

    def check(self, problem: InverseProblem) -> None:
        if self.likelihood == "annealed":
            problem.gaussian(*_ANNEALED)

    @property
    def n_steps(self) -> int:
        return self.levels * self.steps_per_level

    def nfe(self, prior: FittedPrior) -> int:
        return self.n_steps + prior.draw_calls

    def sigma(self, k: int) -> float:
        """Noise level of step k."""
        return _sigmas(self.schedule, self.levels, self.t_min)[(k - 1) // self.steps_per_level]

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        x = NoiseLevel(1.0, self.sigma(1)).perturb(problem.prior.draw_tile(stream), stream)
        if not self._follows(problem):
            return {"x": x}
        _, direction = largest_eigenvalue(data_curvature(problem, x), first_guess(x))
        return {"x": x, "direction": direction}

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        x, sigma = state["x"], self.sigma(k)
        h = self.step_size * sigma**2
        noise = stream.normal(tuple(x.shape), x.dtype, x.device)
        weight, followed = self._weight(problem, state, sigma)
        gradient = score_gradient(problem, x, sigma, weight)
        return {"x": x + h * gradient + math.sqrt(2 * h) * noise, **followed}

    def _follows(self, problem: InverseProblem) -> bool:
        """Whether the norm of the Jacobian changes along a chain, and is wanted."""
        wanted = self.likelihood == "annealed" and self.gain is None
        return wanted and not problem.operator.is_linear

    def _weight(
        self, problem: InverseProblem, state: SamplerState, sigma: float
    ) -> tuple[float | Float[Tensor, "batch 1"], SamplerState]:
        """w at x, and the direction in which F is steepest, where it is followed."""
        if self.likelihood == "fixed":
            return 1.0, {}
        if self.gain is not None:
            gamma = problem.gaussian(*_ANNEALED).component_std
            return gamma**2 / (gamma**2 + (self.gain * sigma) ** 2), {}
        if not self._follows(problem):
            stiffness, followed = data_stiffness(problem, state["x"]), {}
        else:
            H = data_curvature(problem, state["x"])
            stiffness, direction = largest_eigenvalue(H, state["direction"], 1)
            followed = {"direction": direction}
        return 1 / (1 + stiffness[:, None] * sigma**2), followed


@lru_cache(maxsize=64)
def _sigmas(schedule: NoiseSchedule, levels: int, t_min: float) -> tuple[float, ...]:
    return tuple(schedule.sigma(schedule.times(levels - 1, t_min)).tolist())
