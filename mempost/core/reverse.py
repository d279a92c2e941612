"""The reverse process: from noise to samples of p(x | y), step by step.

The forward process z_t = a x + s e obeys dz = f z dt + g dW. Run backwards from t = 1, with the
score S = grad log p(z_t | y) = grad log p(z_t) + grad log p(y | z_t), it is

    dz = (f z - g^2 S) dt + g dW            (reverse SDE, Anderson 1982)
    dz = (f z - g^2 S / 2) dt               (probability flow ODE, Song et al. 2021)

A guidance gives the conditional denoiser m_y = E[x | z_t, y] with S = (a m_y - z)/s^2, a solver
moves z from level to level, a start says where it begins, and ``save`` what is kept. The last
step leads to the clean level (``final: denoise``), z' = m_y, or to the last noisy level like the
steps before (``final: stop``), which gives z/a.

References: Anderson 1982, "Reverse-time diffusion equation models"; Song, Sohl-Dickstein, Kingma,
Kumar, Ermon & Poole 2021, "Score-based generative modeling through stochastic differential
equations".
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.fields import PluginField, named
from mempost.core.flow import Denoise
from mempost.core.guidance import Correction, Guidance
from mempost.core.iterative import IterativeSampler, SamplerState
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.core.schedule import NoiseSchedule
from mempost.core.solver import AdaptiveSolver, Final, FixedSolver, Solver, Step, reverse_steps
from mempost.core.start import ListedStart, Marginal, StartField
from mempost.core.streams import Stream
from mempost.core.tags import Tag
from mempost.core.trajectory import Save, SaveForm, Trajectory


class ReverseProcess(IterativeSampler):
    """A state z that goes down the noise levels; authors override ``move``."""

    retired: ClassVar[Mapping[str, str]] = {
        "method": "solver: ddim, euler_maruyama, heun or dormand_prince",
        "eta": "solver: {type: ddim, eta: ...}",
        "trace": "save: [times]",
    }

    remedy = "take more steps"

    schedule: Annotated[NoiseSchedule, PluginField("schedule")] = Field(
        default_factory=named("schedule", "vp"), description="noise levels"
    )
    steps: int = Field(200, ge=1, description="steps, the last one to x", examples=[12])
    t_min: float = Field(1e-3, ge=0, lt=1, description="the last noisy time")
    sigma_min: float | None = Field(
        None, gt=0, description="the last noisy level s/a, in place of t_min"
    )
    start: StartField = Field(default_factory=Marginal, description="where z starts")
    final: Final = Field(
        "denoise",
        description="the last step goes to the clean level, or stops at t_min and gives z/a",
    )
    save: SaveForm = Field(default_factory=Save, description="states that are kept on the way")

    @model_validator(mode="after")
    def _levels_are_noisy(self) -> Self:
        if self.sigma_min is not None and "t_min" in self.model_fields_set:
            raise ValueError("give either t_min or sigma_min")
        if not float(self.schedule.level(self.last_time).s) > 0:
            raise ValueError(
                f"t_min = {self.t_min:g} has no noise in this schedule; it should be above 0"
            )
        if self.final == "stop" and any(t < self.last_time - 1e-9 for t in self.saved_times):
            raise ValueError(
                f"save holds a time below t_min = {self.last_time:g}, where the run stops"
            )
        return self

    @property
    def last_time(self) -> float:
        """The time of the last noisy level."""
        return self.t_min if self.sigma_min is None else _time_of(self.schedule, self.sigma_min)

    @property
    def saved_times(self) -> tuple[float, ...]:
        """The times at which states are kept, as they were asked for."""
        return _saved_times(self.save, self.schedule, self.last_time)

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """For each of these the number of the step after which z is kept; 0 is the start."""
        return _saved_steps(self.saved_times, self.reverse_steps)

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def reverse_steps(self) -> tuple[Step, ...]:
        """The steps in order, step k at index k - 1."""
        return reverse_steps(self.schedule, self.n_steps, self.last_time, self.final)

    @abstractmethod
    def move(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        """z at ``step.next_level`` from z at ``step.level``."""

    def nfe(self, prior: FittedPrior) -> int | None:
        """One call a step, and those of the start."""
        return self.steps + self.start.calls(prior)

    # -- the iteration ------------------------------------------------------------------------

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        return {"z": self.start.draw(problem.prior, self.reverse_steps[0].level, stream)}

    def _start(self, problem: InverseProblem, tile: int, rows: int, stream: Stream) -> SamplerState:
        """The first state; of starts that are listed, those whose turn it is in this tile."""
        state, size = super()._start(problem, tile, rows, stream), self.tile_size
        if not isinstance(self.start, ListedStart):
            return state
        z = self.start.take(problem.prior, self.reverse_steps[0].level, tile * size, rows)
        return {**state, "z": z[torch.arange(size, device=z.device) % rows]}

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        return {"z": self.move(problem, state["z"], self.reverse_steps[k - 1], stream)}

    def draw(
        self, problem: InverseProblem, state: SamplerState
    ) -> tuple[Float[Tensor, "batch d"], dict[str, Tensor]]:
        return state["z"] / self.reverse_steps[-1].next_level.a, {}

    # -- what is kept -------------------------------------------------------------------------

    def saved_levels(self) -> list[NoiseLevel]:
        """The levels of the states that are kept."""
        steps = self.reverse_steps
        return [steps[k - 1].next_level if k else steps[0].level for k in self.saved_steps]

    def keeps(self, k: int) -> bool:
        return k in self.saved_steps

    def path(self, states: Mapping[int, SamplerState]) -> Trajectory | None:
        if not states:
            return None
        return self.path_of(torch.stack([states[k]["z"] for k in self.saved_steps], 1)[:, None])

    def path_of(self, z: Float[Tensor, "chain draw level d"]) -> Trajectory:
        """States z at the levels that are kept."""
        levels = self.saved_levels()
        a, s = [float(level.a) for level in levels], [float(level.s) for level in levels]
        columns = (self.saved_times, a, s, self.saved_steps)
        t, a_kept, s_kept, step = (torch.tensor(c, dtype=torch.float64) for c in columns)
        return Trajectory(t, a_kept, s_kept, step, z)


class ReverseSampler(ReverseProcess):
    """A guidance, a solver, a schedule and a start; authors say which guidance by ``guide``."""

    solver: Annotated[Solver, PluginField("solver")] = Field(
        default_factory=named("solver", "ddim"), description="what moves z from level to level"
    )

    @property
    @abstractmethod
    def guide(self) -> Guidance | None:
        """From the problem to E[x | z_t, y]; None is the prior's own E[x | z_t]."""

    @property
    def needs_question(self) -> bool:
        return self.guide is not None

    @property
    def advice(self) -> str:
        """That of the guidance, under which paths diverge."""
        return self.remedy if self.guide is None else self.guide.remedy

    def _tags(self) -> frozenset[Tag]:
        """Its own, and those of the guidance."""
        guide = self.guide
        return super()._tags() if guide is None else super()._tags() | guide.tags

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if hasattr(cls, "likelihood_score") and not issubclass(cls, Guidance):
            raise TypeError(
                f"{cls.__name__}.likelihood_score would not be asked: a sampler with a guidance of "
                "its own is a GuidedSampler, and a rule of dps a Guidance"
            )

    @model_validator(mode="after")
    def _solver_fits(self) -> Self:
        if not isinstance(self.solver, AdaptiveSolver):
            return self
        name = type(self.solver).__name__
        if "steps" in self.model_fields_set:
            raise ValueError(f"steps has no meaning with {name}, which chooses its own")
        if isinstance(self.guide, Correction):
            raise ValueError(
                f"{type(self.guide).__name__} moves z after every step, which needs fixed steps; "
                f"{name} chooses its own: take ddim, euler_maruyama or heun"
            )
        return self

    def check(self, problem: InverseProblem) -> None:
        if self.guide is not None:
            self.guide.check(problem)

    @property
    def n_steps(self) -> int:
        """Steps of a solver that has them fixed; else the way down, and the last step to x."""
        return 1 + (self.final == "denoise") if self._adapts else self.steps

    @property
    def _adapts(self) -> bool:
        return isinstance(self.solver, AdaptiveSolver)

    def nfe(self, prior: FittedPrior) -> int | None:
        """Those of the start, the solver, the last step and the corrections; None if adaptive."""
        if not isinstance(self.solver, FixedSolver):
            return None
        steps, guide = self.reverse_steps, self.guide
        calls = sum(1 if step.is_clean else self.solver.calls(step) for step in steps)
        if isinstance(guide, Correction):
            calls += sum(guide.calls(step) for step in steps)
        return calls + self.start.calls(prior)

    def move(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        prior, guide = problem.prior, self.guide
        if not isinstance(guide, Correction):
            denoise = prior.denoise if guide is None else guide.denoiser(problem)
            return self._next(denoise, z, step, stream)
        at = prior.at(z, step.level)
        shared: Denoise = lambda u, level: at.mean if u is z else prior.denoise(u, level)  # noqa: E731
        return guide.correct(problem, at, self._next(shared, z, step, stream), step)

    def _next(self, denoise: Denoise, z: Tensor, step: Step, stream: Stream) -> Tensor:
        """z at the next level, under the denoiser."""
        if step.is_clean:
            return require_finite(denoise(z, step.level), "guided denoiser")
        if not isinstance(self.solver, FixedSolver):
            raise TypeError(f"{type(self.solver).__name__} makes no single steps")
        return self.solver.step(denoise, z, step, stream)

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        step = self.reverse_steps[k - 1]
        if not isinstance(self.solver, AdaptiveSolver) or step.is_clean:
            return {**state, **super().step(problem, state, k, stream)}
        guide = self.guide
        denoise = problem.prior.denoise if guide is None else guide.denoiser(problem)
        inner = sorted({t for t in self.saved_times if self.last_time < t < 1}, reverse=True)
        targets = [*map(self.schedule.level, inner), step.next_level]
        states = self.solver.integrate(denoise, state["z"], step.level, targets)
        at = dict(zip(inner, states)) | {1.0: state["z"]}
        kept = [at.get(t, states[-1]) for t in self.saved_times]
        return {"z": states[-1]} | ({"saved": torch.stack(kept, 1)} if kept else {})

    def saved_levels(self) -> list[NoiseLevel]:
        if not self._adapts:
            return super().saved_levels()
        return [self.schedule.level(max(t, self.last_time)) for t in self.saved_times]

    def keeps(self, k: int) -> bool:
        if not self._adapts:
            return super().keeps(k)
        return bool(self.saved_times) and k == self.n_steps

    def path(self, states: Mapping[int, SamplerState]) -> Trajectory | None:
        if not (self._adapts and states):
            return super().path(states)
        return self.path_of(states[self.n_steps]["saved"][:, None])


class GuidedSampler(Guidance, ReverseSampler):
    """A reverse process that is its own guidance; authors override ``likelihood_score``."""

    @property
    def guide(self) -> Guidance:
        return self

    def _tags(self) -> frozenset[Tag]:
        return type(self).tags


@lru_cache(maxsize=64)
def _time_of(schedule: NoiseSchedule, sigma: float) -> float:
    return schedule.time_of(sigma)


@lru_cache(maxsize=64)
def _saved_times(save: Save, schedule: NoiseSchedule, t_min: float) -> tuple[float, ...]:
    return save.times_of(schedule, t_min)


@lru_cache(maxsize=64)
def _saved_steps(times: tuple[float, ...], steps: tuple[Step, ...]) -> tuple[int, ...]:
    return tuple(next((k for k, s in enumerate(steps, 1) if s.reaches(t)), 0) for t in times)


__all__ = ["GuidedSampler", "ReverseProcess", "ReverseSampler", "Step", "reverse_steps"]
