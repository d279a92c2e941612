"""Checks of guidances: the conditional denoiser, or the correction after a step, row by row.

They are asked at states of the reverse process on the schedule ``vp``, under the example problems
that the guidance does not refuse.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core import flow
from mempost.core.counters import counting
from mempost.core.denoised import Denoised
from mempost.core.errors import MempostError, PluginError
from mempost.core.guidance import Correction, Guidance
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.solver import Step, reverse_steps
from mempost.core.streams import Streams
from mempost.testing.check import Catalogue, NotApplicable
from mempost.testing.checks.probes import Opaque
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.checks.sampler_case import (
    accepted,
    converted,
    require_nonlinear_refused,
    uneven_problems,
    with_noise_scaled,
)
from mempost.testing.comparison import require, require_close, require_equal
from mempost.testing.randomness import twice_under_global_seeds
from mempost.testing.reference import DenseMixture, is_solvable, solve

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class GuidanceCase:
    """A guidance, and a problem where the built-in ones do not suit it."""

    plugin: Guidance
    given_problem: InverseProblem | None = None

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def problems(self) -> dict[str, InverseProblem]:
        """The problems that the guidance applies to, by name."""
        if self.given_problem is not None:
            return {"given": self.given_problem}
        return accepted(self.plugin.check)

    @property
    def problem(self) -> InverseProblem:
        """The problem of the checks that need just one."""
        return next(iter(self.problems.values()))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Steps at small, middle and large noise; none leads to the clean level."""
        schedule = REGISTRIES["schedule"].get("vp")()
        steps = reverse_steps(schedule, 12, 0.01, "stop")
        return steps[3], steps[7], steps[10]

    def states(self, problem: InverseProblem, step: Step) -> Float[Tensor, "8 d"]:
        """States z = a x + s e at the level of the step, x from the prior."""
        x = problem.prior.draw_tile(Streams(0, "sampling").at())[:8]
        return step.level.perturb(x, Streams(0, "noise").at())

    def plain(self, problem: InverseProblem, z: Tensor, step: Step) -> Tensor:
        """What there is without data: E[x | z], or the state after the step of a correction."""
        at = problem.prior.at(z, step.level)
        return stepped(at, step) if isinstance(self.plugin, Correction) else at.mean

    def guided(self, problem: InverseProblem, z: Tensor, step: Step) -> Tensor:
        """E[x | z, y], or the state after the step, corrected."""
        if isinstance(self.plugin, Correction):
            at = problem.prior.at(z, step.level)
            return self.plugin.correct(problem, at, stepped(at, step), step)
        return self.plugin.denoiser(problem)(z, step.level)

    def answers(self, problem: InverseProblem | None = None) -> Float[Tensor, "24 d"]:
        """What is guided of the states of all steps."""
        problem = problem or self.problem
        return torch.cat(
            [self.guided(problem, self.states(problem, step), step) for step in self.steps]
        )


def stepped(at: Denoised, step: Step) -> Tensor:
    """The state after an Euler step without data, for which the denoiser is asked."""
    return flow.euler(at.z, at.mean, step.level, step.next_level)


CHECKS: Catalogue[GuidanceCase] = Catalogue("guidance", GuidanceCase)
add_recipe_checks(CHECKS)


@CHECKS.add()
def finite(case: GuidanceCase) -> None:
    """E[x | z, y] is not finite at a noise level, or has another shape than the state."""
    for name, problem in case.problems.items():
        for step in case.steps:
            z = case.states(problem, step)
            found = case.guided(problem, z, step)
            where = f"Problem {name!r} at sigma = {float(step.level.s) / float(step.level.a):.3g}"
            require(found.shape == z.shape, f"{where}: {tuple(found.shape)} for {tuple(z.shape)}.")
            require(bool(torch.isfinite(found).all()), f"{where}: numbers are not finite.")


@CHECKS.add()
def rows_independent(case: GuidanceCase) -> None:
    """What a state becomes depends on the states beside it (a norm over the batch, say)."""
    for step in case.steps:
        z = case.states(case.problem, step)
        together = case.guided(case.problem, z, step)
        alone = torch.cat([case.guided(case.problem, row[None], step) for row in z])
        require_close(alone, together, "States alone and together", _ROUNDING)


@CHECKS.add()
def levels_by_row(case: GuidanceCase) -> None:
    """With a noise level for every row a state becomes something else than with its level alone."""
    if isinstance(case.plugin, Correction):
        raise NotApplicable("a correction follows steps, whose levels are numbers")
    denoise, problem = case.plugin.denoiser(case.problem), case.problem
    levels = [step.level for step in case.steps]
    z = torch.stack([case.states(problem, step)[0] for step in case.steps])
    numbers = (torch.tensor([float(v) for v in vs], dtype=z.dtype) for vs in _columns(levels))
    together = denoise(z, NoiseLevel(*numbers))
    alone = torch.cat([denoise(row[None], level) for row, level in zip(z, levels)])
    require_close(together, alone, "Levels by row and one by one", _ROUNDING)


def _columns(levels: list[NoiseLevel]) -> tuple[list[float | Tensor], list[float | Tensor]]:
    return [level.a for level in levels], [level.s for level in levels]


@CHECKS.add()
def towards_the_data(case: GuidanceCase) -> None:
    """On average the guidance moves x away from the data, as with a sign that is wrong."""
    for name, problem in case.problems.items():
        along = []
        for step in case.steps:
            z = case.states(problem, step)
            shift = case.guided(problem, z, step) - case.plain(problem, z, step)
            _, ascent = problem.misfit_ascent(problem.prior.denoise(z, step.level))
            size = shift.norm(dim=-1) * ascent.norm(dim=-1)
            cosine = (shift * ascent).sum(-1) / size.clamp(min=torch.finfo(size.dtype).tiny)
            along.append(cosine)
        mean = float(torch.cat(along).mean())
        require(
            mean > 0,
            f"Problem {name!r}: the mean cosine with the descent of the misfit is {mean:.2f}.",
        )


@CHECKS.add()
def data_matter(case: GuidanceCase) -> None:
    """Other data give the same answers."""
    problem = case.problem
    x = problem.prior.draw_tile(Streams(1, "sampling").at())[:1]
    f = problem.forward(x).reshape(problem.y.shape)
    other = case.answers(problem.with_data(problem.observe(f, Streams(1, "noise").at())))
    require(not torch.equal(other, case.answers()), "Data of another x do not.")


@CHECKS.add(tag="uses_noise_level")
def noise_level_matters(case: GuidanceCase) -> None:
    """The tag `uses_noise_level` is false: another noise level gives the same answers."""
    require(
        not torch.equal(case.answers(with_noise_scaled(case.problem, 1.7)), case.answers()),
        "Noise of 1.7 times the standard deviation leaves every answer as it is.",
    )


@CHECKS.add(without="uses_noise_level")
def noise_level_ignored(case: GuidanceCase) -> None:
    """The answer depends on the noise level, without the tag `uses_noise_level`."""
    other = case.answers(with_noise_scaled(case.problem, 1.7))
    require_equal(other, case.answers(), "Answers for two noise levels")


@CHECKS.add(tag="uses_noise_level")
def noise_of_every_datum(case: GuidanceCase) -> None:
    """Data of different accuracy, correlated or missing ones count other than whitened ones."""
    problem, whitened = uneven_problems(case.problem.prior)
    try:
        case.plugin.check(problem)
    except PluginError as error:
        raise NotApplicable(str(error)) from None
    found, expected = case.answers(problem), case.answers(whitened)
    require_close(found, expected, "Answers to data as they are, and to whitened ones", 1e-8)


@CHECKS.add(tag="uses_noise_level")
def uninformative_data(case: GuidanceCase) -> None:
    """Data under a million times the noise still move the answer away from that of no data."""
    for name, problem in case.problems.items():
        if name == "memorized":  # its examples are no atoms, which a guidance may take them for
            continue
        vague = with_noise_scaled(problem, 1e6)
        for step in case.steps:
            z = case.states(problem, step)
            plain = case.plain(problem, z, step)
            scale = max(float(plain.abs().max()), 1.0)
            found = case.guided(vague, z, step)
            require_close(found, plain, f"Problem {name!r}, with data and without", 1e-3, scale)


@CHECKS.add(tag="exact")
def exact_conditional(case: GuidanceCase) -> None:
    """The tag `exact` is false: it is not the denoiser of the closed-form posterior."""
    compared = 0
    for name, problem in case.problems.items():
        if not is_solvable(problem) or isinstance(case.plugin, Correction):
            continue
        posterior = solve(problem)
        factors = posterior.covariances
        if not posterior.is_atomic:
            factors = torch.linalg.cholesky(factors)
        exact = DenseMixture(posterior.weights, posterior.means, factors)
        for step in case.steps:
            z = case.states(problem, step)
            found, expected = case.guided(problem, z, step), exact.denoise(z, step.level)
            require_close(found, expected, f"Problem {name!r}: E[x | z, y]", 1e-6)
        compared += 1
    if not compared:
        raise NotApplicable("no problem with a closed-form posterior suits the guidance")


@CHECKS.add()
def gradient_tag(case: GuidanceCase) -> None:
    """The tag `needs_gradient` does not say whether the operator is differentiated."""
    prior, (operator, noise, y) = case.problem.prior, case.problem.asked
    opaque = InverseProblem(prior, Opaque(inner=operator), noise, y)
    try:
        same = torch.equal(case.answers(opaque), case.answers())
    except (MempostError, RuntimeError):
        same = False
    tagged = "needs_gradient" in case.tags
    require(
        same != tagged,
        "Without derivatives the answers are the same."
        if same
        else "Without derivatives of the operator the answers are others, or there are none.",
    )


@CHECKS.add(tag="linear")
def nonlinear_refused(case: GuidanceCase) -> None:
    """A guidance for linear operators (tag `linear`) does not refuse a nonlinear one."""
    require_nonlinear_refused(case.plugin.check)


@CHECKS.add()
def denoiser_calls(case: GuidanceCase) -> None:
    """An answer takes more denoiser calls than are said: one, or ``calls`` of a correction."""
    problem, step = case.problem, case.steps[1]
    z = case.states(problem, step)
    at = problem.prior.at(z, step.level)
    z_next = stepped(at, step)
    case.guided(problem, z, step)  # what is prepared once is none of it
    with counting() as counts:
        if isinstance(case.plugin, Correction):
            case.plugin.correct(problem, at, z_next, step)
            said = case.plugin.calls(step)
        else:
            case.plugin.denoiser(problem)(z, step.level)
            said = 1
    found = counts["denoiser_calls"] / len(z)
    require(found == said, f"{found:g} calls a row were counted, expected are {said}.")


@CHECKS.add()
def randomness(case: GuidanceCase) -> None:
    """An answer is random: asked twice it differs, or a global random generator is drawn from."""
    first, second = twice_under_global_seeds(case.answers)
    require_equal(first, second, "Answers under two global seeds")


@CHECKS.add()
def arguments_kept(case: GuidanceCase) -> None:
    """The state or the data are written into."""
    problem, step = copy.deepcopy(case.problem), case.steps[1]
    z = case.states(problem, step)
    kept = z.clone()
    case.guided(problem, z, step)
    require_equal(z, kept, "The state afterwards")
    require_equal(problem.y, case.problem.y, "The data afterwards")


@CHECKS.add()
def dtype_kept(case: GuidanceCase) -> None:
    """A float32 problem does not give float32 answers."""
    problem, step = converted(case.problem, torch.float32), case.steps[1]
    found = case.guided(problem, case.states(problem, step), step)
    require(found.dtype == torch.float32, f"Answers are {found.dtype}.")
