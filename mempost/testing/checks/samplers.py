"""Checks of posterior samplers: reproducible, independent samples, and true tags."""

from __future__ import annotations

import copy

import torch

from mempost.core.errors import MempostError, PluginError
from mempost.core.problem import InverseProblem
from mempost.core.sampler import Samples, TiledSampler, join_tiles
from mempost.core.streams import TILE, Streams
from mempost.testing.check import NotApplicable
from mempost.testing.checks.probes import Opaque
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.checks.sampler_case import (
    CHECKS,
    STREAMS,
    SamplerCase,
    converted,
    require_nonlinear_refused,
    uneven_problems,
    with_noise_scaled,
)
from mempost.testing.comparison import require, require_close, require_equal
from mempost.testing.randomness import (
    NeighboursChanged,
    RowsPermuted,
    twice_under_global_seeds,
)

__all__ = ["CHECKS", "STREAMS", "SamplerCase"]

add_recipe_checks(CHECKS)


@CHECKS.add()
def shapes(case: SamplerCase) -> None:
    """Samples do not have the axes (chain, draw, dimension), or not the number asked for."""
    for n, samples in ((1, case.run(1)), (2 * case.tile_size + 6, case.several)):
        shape = tuple(samples.values.shape)
        good = len(shape) == 3 and shape[2] == case.problem.dimension
        good = good and (shape[0] == n or (shape[0] == 1 and shape[1] == n))
        require(good, f"{n} samples have shape {shape}.")
        for name, value in samples.stats.items():
            require(
                tuple(value.shape[:2]) == shape[:2],
                f"The statistic {name!r} has shape {tuple(value.shape)} for samples of {shape}.",
            )


@CHECKS.add()
def seed_determinism(case: SamplerCase) -> None:
    """One seed gives two results, or two seeds give one."""
    require_equal(case.run().values, case.tile.values, "Samples with one seed")
    other = case.run(streams=Streams(1, "sampling")).values
    require(not torch.equal(other, case.tile.values), "Two seeds give the same samples.")


@CHECKS.add()
def global_random_state(case: SamplerCase) -> None:
    """Samples depend on a global random generator, or sampling uses one."""
    first, second = twice_under_global_seeds(lambda: case.run().values)
    require_equal(first, second, "Samples under two global seeds")


@CHECKS.add()
def arguments_kept(case: SamplerCase) -> None:
    """Sampling writes into the data or the prior."""
    problem = copy.deepcopy(case.problem)
    case.run(problem=problem)
    require_equal(problem.y, case.problem.y, "The data after sampling")
    before = case.problem.prior.state().tensors
    for name, tensor in problem.prior.state().tensors.items():
        require_equal(tensor, before[name], f"The prior's {name} after sampling")


@CHECKS.add(without="interacting")
def tiles_in_any_order(case: SamplerCase) -> None:
    """Tiles computed alone, in another order or by another worker are not those of one run."""
    size = case.tile_size
    n, straight = 2 * size + 6, case.several
    rows = case.rows(straight)
    require_equal(rows[:size], case.rows(case.tile), f"The first {size} of {n} samples")
    require(not torch.equal(rows[:size], rows[size : 2 * size]), "Two tiles hold the same samples.")
    if not isinstance(case.plugin, TiledSampler):
        return
    tiles = {}
    for k in (2, 0, 1):
        worker, problem = copy.deepcopy(case.plugin), copy.deepcopy(case.problem)
        tiles[k] = worker.sample_tile(problem, k, STREAMS)
    joined = join_tiles([tiles[k] for k in range(3)], n)
    require_equal(joined.values, straight.values, "Tiles computed one by one")
    for name, value in straight.stats.items():
        require_equal(joined.stats[name], value, f"The statistic {name!r} tile by tile")


def _require_plain_tiles(case: SamplerCase) -> None:
    if case.tile_size != TILE:
        raise NotApplicable(f"this is checked with tiles of {TILE}, not {case.tile_size}")


@CHECKS.add(without="interacting")
def batch_invariance(case: SamplerCase) -> None:
    """A sample changes when the random numbers of its neighbours change."""
    _require_plain_tiles(case)
    keep = (0, 7, TILE - 1)
    changed = case.run(streams=NeighboursChanged(0, "sampling", keep=keep))
    rows, before = case.rows(changed), case.rows(case.tile)
    require_close(rows[list(keep)], before[list(keep)], "Samples beside other neighbours")
    require(not torch.equal(rows, before), "The samples ignore their streams.")


@CHECKS.add(without="interacting")
def tile_position(case: SamplerCase) -> None:
    """A sample changes when it stands at another position of its tile."""
    _require_plain_tiles(case)
    order = tuple((5 * i + 3) % TILE for i in range(TILE))
    moved = case.run(streams=RowsPermuted(0, "sampling", order=order))
    expected = case.rows(case.tile)[list(order)]
    require_close(case.rows(moved), expected, "Samples at other positions")


@CHECKS.add(tag="uses_noise_level")
def noise_level_matters(case: SamplerCase) -> None:
    """The tag `uses_noise_level` is false: another noise level gives the same samples."""
    require(
        not torch.equal(_with_more_noise(case).values, case.tile.values),
        "Noise of 1.7 times the standard deviation leaves every sample as it is.",
    )


@CHECKS.add(without="uses_noise_level")
def noise_level_ignored(case: SamplerCase) -> None:
    """Samples depend on the noise level, without the tag `uses_noise_level`."""
    require_equal(_with_more_noise(case).values, case.tile.values, "Samples for two noise levels")


def _with_more_noise(case: SamplerCase) -> Samples:
    return case.run(problem=with_noise_scaled(case.problem, 1.7))


@CHECKS.add(tag="uses_noise_level")
def noise_of_every_datum(case: SamplerCase) -> None:
    """Data of different accuracy, correlated or missing ones count other than whitened ones."""
    problem, whitened = uneven_problems(case.problem.prior)
    try:
        case.plugin.check(problem)
    except PluginError as error:
        raise NotApplicable(str(error)) from None
    found, expected = (case.run(problem=p).values for p in (problem, whitened))
    require_close(found, expected, "Samples of data as they are, and of whitened ones", 1e-8)


@CHECKS.add()
def question_needed(case: SamplerCase) -> None:
    """`needs_question` does not say whether the sampler draws from the prior alone."""
    alone = InverseProblem(case.problem.prior)
    try:
        case.plugin.check(alone)
        same = torch.equal(case.run(problem=alone).values, case.tile.values)
    except PluginError as error:
        require(
            case.plugin.needs_question,
            f"It says that it draws without a question, and refuses the prior alone: {error}.",
        )
        return
    require(
        same and not case.plugin.needs_question,
        "It says that it draws given data, and draws from the prior alone."
        if case.plugin.needs_question
        else "The prior alone gives other samples than a problem with data.",
    )


@CHECKS.add()
def gradient_tag(case: SamplerCase) -> None:
    """The tag `needs_gradient` does not say whether the operator is differentiated."""
    prior, (operator, noise, y) = case.problem.prior, case.problem.asked
    opaque = InverseProblem(prior, Opaque(inner=operator), noise, y)
    try:
        same = torch.equal(case.run(problem=opaque).values, case.tile.values)
    except (MempostError, RuntimeError):
        same = False
    tagged = "needs_gradient" in case.tags
    require(
        same != tagged,
        "Without derivatives the samples are the same."
        if same
        else "Without derivatives of the operator the samples are others, or there are none.",
    )


@CHECKS.add(tag="linear")
def nonlinear_refused(case: SamplerCase) -> None:
    """A method for linear operators (tag `linear`) does not refuse a nonlinear one."""
    require_nonlinear_refused(case.plugin.check)


@CHECKS.add()
def dtype_kept(case: SamplerCase) -> None:
    """A float32 problem does not give float32 samples."""
    found = case.run(problem=converted(case.problem, torch.float32)).values.dtype
    require(found == torch.float32, f"Samples are {found}.")
    require(
        case.tile.values.dtype == torch.float64, f"In float64 they are {case.tile.values.dtype}."
    )


@CHECKS.add()
def device(case: SamplerCase) -> None:
    """Samples of a problem on an accelerator leave it."""
    if not torch.cuda.is_available():
        raise NotApplicable("no accelerator here")
    samples = case.run(problem=converted(case.problem, device="cuda"))
    require(samples.values.is_cuda, f"Samples lie on {samples.values.device}.")
    require(bool(torch.isfinite(samples.values).all()), "Samples are not finite.")
