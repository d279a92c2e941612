"""Checks of solvers, on flows whose laws and paths are known.

For the prior N(m, diag v) the law of z is N(a m, a^2 v + s^2), and along the probability flow

    u' - m = sqrt((v + sigma'^2)/(v + sigma^2)) (u - m),      u = z/a, sigma = s/a.

A solver that draws nothing is held to the paths and the order at which they converge, any solver to
the law at the end. Levels are those of the schedule ``vp``, so that a changes along the way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.flow import Denoise
from mempost.core.level import NoiseLevel
from mempost.core.registry import REGISTRIES
from mempost.core.solver import AdaptiveSolver, FixedSolver, Solver, Step, reverse_steps
from mempost.core.streams import TILE, Streams
from mempost.testing.check import Catalogue, CheckFailedError, NotApplicable
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import (
    require,
    require_close,
    require_distribution,
    require_equal,
)
from mempost.testing.randomness import NeighboursChanged, twice_under_global_seeds
from mempost.testing.reference import DenseMixture

_DOUBLE = torch.float64
MEAN = torch.tensor([0.5, -1.0], dtype=_DOUBLE)
VARIANCE = torch.tensor([4.0, 0.25], dtype=_DOUBLE)
STREAMS = Streams(0, "sampling")
LAST = 0.05
"""The time of the last level, sigma = 0.16."""


@dataclass
class Asked:
    """A denoiser that remembers what it was asked: the rows and sigma of every call."""

    denoise: Denoise
    calls: list[tuple[int, Tensor]] = field(default_factory=list)

    def __call__(self, z: Tensor, level: NoiseLevel) -> Tensor:
        a, s = level.columns(z)
        self.calls.append((len(z), (s / a).detach().double()))
        return self.denoise(z, level)


@dataclass(frozen=True, eq=False)
class SolverCase:
    """A solver."""

    plugin: Solver

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def denoise(self) -> Denoise:
        """E[x | z] of the prior N(m, diag v)."""
        factors = VARIANCE.sqrt().diag()[None]
        return DenseMixture(torch.ones(1, dtype=_DOUBLE), MEAN[None], factors).denoise

    def steps(self, n: int) -> tuple[Step, ...]:
        """n steps, equally spaced in the time of the schedule, that stop at the last level."""
        return reverse_steps(REGISTRIES["schedule"].get("vp")(), n, LAST, "stop")

    def start(self, n: int = TILE) -> Float[Tensor, "n 2"]:
        """Draws from the law of z at the first level."""
        level = self.steps(1)[0].level
        spread = (level.a**2 * VARIANCE + level.s**2).sqrt()
        return level.a * MEAN + spread * Streams(0, "data").at().normal((n, 2))

    def walk(
        self,
        z: Tensor,
        n: int = 20,
        streams: Streams = STREAMS,
        denoise: Denoise | None = None,
        afresh: Callable[[Solver], Solver] = lambda solver: solver,
    ) -> Tensor:
        """z at the last level, by n steps if they are fixed; ``afresh`` gives each its solver."""
        denoise, steps = denoise or self.denoise, self.steps(n)
        if isinstance(self.plugin, AdaptiveSolver):
            first, last = steps[0].level, steps[-1].next_level
            return self.plugin.integrate(denoise, z, first, [last])[0]
        for k, step in enumerate(steps):
            solver = afresh(self.plugin)
            require(
                isinstance(solver, FixedSolver),
                "It is neither a FixedSolver nor an AdaptiveSolver.",
            )
            assert isinstance(solver, FixedSolver)
            z = solver.step(denoise, z, step, streams.at(0, k))
        return z

    def path(self, z: Tensor) -> Tensor:
        """Where the probability flow leads from z."""
        first, last = self.steps(1)[0].level, self.steps(1)[-1].next_level
        ratio = ((VARIANCE + _sigma(last) ** 2) / (VARIANCE + _sigma(first) ** 2)).sqrt()
        return last.a * (MEAN + ratio * (z / first.a - MEAN))

    @cached_property
    def is_random(self) -> bool:
        """Whether other streams give other states."""
        other = self.walk(self.start(), streams=Streams(1, "sampling"))
        return not torch.equal(self.walk(self.start()), other)


def _sigma(level: NoiseLevel) -> float:
    return float(level.s) / float(level.a)


CHECKS: Catalogue[SolverCase] = Catalogue("solver", SolverCase)
add_recipe_checks(CHECKS)


@CHECKS.add()
def law_of_the_flow(case: SolverCase) -> None:
    """From the law of z at the first level many steps do not lead to its law at the last one."""
    n = 128 * TILE
    z = case.walk(case.start(n), n=400)
    level = case.steps(1)[-1].next_level
    spread = (level.a**2 * VARIANCE + level.s**2).sqrt()
    require_distribution(torch.special.ndtr((z - level.a * MEAN) / spread), "States at the end")


@CHECKS.add()
def path_of_the_flow(case: SolverCase) -> None:
    """Without random numbers, paths do not approach those of the flow as steps get shorter."""
    if case.is_random:
        raise NotApplicable("the solver draws random numbers")
    z = case.start()
    exact = case.path(z)
    scale = float(exact.abs().max())
    if isinstance(case.plugin, AdaptiveSolver):
        require_close(case.walk(z), exact, "The end of the paths", 1e-3)
        return
    errors = [float((case.walk(z, n) - exact).abs().max()) / scale for n in (64, 256)]
    require(
        errors[1] <= max(errors[0] / 3, 1e-9),
        f"Four times the steps take the error from {errors[0]:.3g} to {errors[1]:.3g} only; a "
        "solver of first order takes it to a quarter.",
    )
    require(errors[1] <= 0.05, f"256 steps leave a relative error of {errors[1]:.3g}.")


@CHECKS.add()
def rows_independent(case: SolverCase) -> None:
    """A row goes another way beside other rows, or where their random numbers are others."""
    z, keep = case.start(), (0, 7, TILE - 1)
    together = case.walk(z)
    moved = z + 1
    moved[list(keep)] = z[list(keep)]
    changed = case.walk(moved, streams=NeighboursChanged(0, "sampling", keep=keep))
    require_close(changed[list(keep)], together[list(keep)], "Rows beside other neighbours", 1e-11)
    if not case.is_random:
        alone = torch.cat([case.walk(z[i : i + 1]) for i in keep])
        require_close(alone, together[list(keep)], "Rows alone and together", 1e-11)


@CHECKS.add()
def levels_asked(case: SolverCase) -> None:
    """The denoiser is asked at a noise level outside of the step."""
    asked = Asked(case.denoise)
    z = case.start()
    if isinstance(case.plugin, AdaptiveSolver):
        case.walk(z, denoise=asked)
        _require_within(asked, _sigma(case.steps(1)[-1].next_level), _sigma(case.steps(1)[0].level))
        return
    for k, step in enumerate(case.steps(20)):
        asked.calls.clear()
        z = _step(case)(asked, z, step, STREAMS.at(0, k))
        _require_within(asked, _sigma(step.next_level), _sigma(step.level))


def _require_within(asked: Asked, low: float, high: float) -> None:
    for _, sigma in asked.calls:
        inside = (sigma >= low * (1 - 1e-6)) & (sigma <= high * (1 + 1e-6))
        if not bool(inside.all()):
            worst = float(sigma[~inside][0])
            raise CheckFailedError(
                f"It is asked at sigma = {worst:.4g} on the way from {high:.4g} to {low:.4g}."
            )


@CHECKS.add()
def denoiser_calls(case: SolverCase) -> None:
    """``calls`` is not the number of denoiser calls of a step, by which budgets are compared."""
    if isinstance(case.plugin, AdaptiveSolver):
        raise NotApplicable("an adaptive solver says no number")
    assert isinstance(case.plugin, FixedSolver)
    asked, z = Asked(case.denoise), case.start()
    for k, step in enumerate(case.steps(5)):
        asked.calls.clear()
        z = case.plugin.step(asked, z, step, STREAMS.at(0, k))
        found, said = sum(rows for rows, _ in asked.calls) / len(z), case.plugin.calls(step)
        require(found == said, f"Step {k + 1} makes {found:g} calls a row, and says {said}.")


@CHECKS.add()
def randomness_from_the_stream(case: SolverCase) -> None:
    """One stream gives two results, or a global random generator is drawn from."""
    first, second = twice_under_global_seeds(lambda: case.walk(case.start()))
    require_equal(first, second, "States under two global seeds")


@CHECKS.add()
def no_memory(case: SolverCase) -> None:
    """A step depends on steps that the solver has made before, which no checkpoint holds."""
    straight = case.walk(case.start())
    afresh = case.walk(case.start(), afresh=lambda solver: copy.deepcopy(solver).model_copy())
    require_equal(afresh, straight, "Steps by one solver and each by a new one")
    require_equal(case.walk(case.start()), straight, "The same steps once more")


@CHECKS.add()
def arguments_kept(case: SolverCase) -> None:
    """The state that is given is written into."""
    z = case.start()
    kept = z.clone()
    case.walk(z, n=2)
    require_equal(z, kept, "The state after two steps")


@CHECKS.add()
def dtype_kept(case: SolverCase) -> None:
    """A float32 state does not stay float32."""

    def denoise(z: Tensor, level: NoiseLevel) -> Tensor:
        require(z.dtype == torch.float32, f"The denoiser is asked at a state in {z.dtype}.")
        return case.denoise(z.double(), level).float()

    found = case.walk(case.start().float(), n=4, denoise=denoise)
    require(found.dtype == torch.float32, f"States are {found.dtype}.")


@CHECKS.add()
def levels_between(case: SolverCase) -> None:
    """An adaptive solver gives other states where more levels are asked for, or levels by row."""
    solver = case.plugin
    if not isinstance(solver, AdaptiveSolver):
        raise NotApplicable("the solver goes from level to level")
    z, levels = case.start(8), [step.next_level for step in case.steps(6)]
    first = case.steps(6)[0].level
    states = solver.integrate(case.denoise, z, first, levels)
    require(len(states) == len(levels), f"{len(levels)} levels have {len(states)} states.")
    alone = solver.integrate(case.denoise, z, first, levels[-1:])[0]
    require_close(states[-1], alone, "The end with and without levels between", 1e-9)
    half = solver.integrate(case.denoise, z, first, levels[2:3])[0]
    scale = float(states[2].abs().max())
    require_close(states[2], half, "A state between and at the end", 1e-3, scale)
    numbers = [torch.tensor([float(n)] * 8, dtype=_DOUBLE) for n in (first.a, first.s)]
    by_row = solver.integrate(case.denoise, z, NoiseLevel(*numbers), levels[-1:])[0]
    require_close(by_row, alone, "A level for every row and one for all", 1e-9)


def _step(case: SolverCase) -> Callable[..., Tensor]:
    require(
        isinstance(case.plugin, FixedSolver), "It is neither a FixedSolver nor an AdaptiveSolver."
    )
    assert isinstance(case.plugin, FixedSolver)
    return case.plugin.step
