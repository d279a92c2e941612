"""Checks of priors as objects: fits, draws, batches, precision, stored state."""

from __future__ import annotations

import json
import math

import torch
from torch import Tensor

from mempost.core.capabilities import HasNoisedDensity, ask
from mempost.core.composite import FittedComposite
from mempost.core.counters import counting
from mempost.core.errors import ShapeError
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior
from mempost.core.streams import TILE, Streams
from mempost.testing.check import NotApplicable
from mempost.testing.checks.prior_case import CHECKS, LEVELS, PriorCase
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import require, require_close, require_equal
from mempost.testing.randomness import twice_under_global_seeds

__all__ = ["CHECKS", "LEVELS", "PriorCase"]

add_recipe_checks(CHECKS)


def _same_draws(first: FittedPrior, second: FittedPrior, what: str) -> None:
    z = first.sample(TILE, Streams(3, "sampling"))
    require_equal(second.sample(TILE, Streams(3, "sampling")), z, f"Draws of {what}")
    level = LEVELS[1]
    require_equal(second.denoise(z, level), first.denoise(z, level), f"Denoised states of {what}")


@CHECKS.add()
def fit_is_reproducible(case: PriorCase) -> None:
    """One seed gives two fits, or a global random generator is used or matters in fitting."""
    first, second = twice_under_global_seeds(case.fit)
    _same_draws(first, second, "two fits under two global seeds")


@CHECKS.add(without="random")
def fit_ignores_seed(case: PriorCase) -> None:
    """Two seeds give two fits, without the tag `random`."""
    _same_draws(case.fitted, case.fit(seed=1), "fits with two seeds")


@CHECKS.add(tag="random")
def fit_follows_seed(case: PriorCase) -> None:
    """The tag `random` is false: two seeds give the same fit."""
    z = case.states(LEVELS[1], TILE)
    first, second = (prior.denoise(z, LEVELS[1]) for prior in (case.fitted, case.fit(seed=1)))
    require(not torch.equal(first, second), "Two seeds give the same denoiser.")


@CHECKS.add()
def arguments_kept(case: PriorCase) -> None:
    """Fitting writes into the training data, or denoising into the states."""
    if case.data is not None:
        data = case.data.clone()
        case.plugin.fit(data, streams=Streams(0, "training"))
        require_equal(data, case.data, "The training data after fit")
    z = case.states(LEVELS[1])
    before = z.clone()
    case.fitted.denoise(z, LEVELS[1])
    require_equal(z, before, "The states after denoise")


@CHECKS.add()
def non_finite_refused(case: PriorCase) -> None:
    """Training data with a NaN are fitted."""
    if case.data is None:
        raise NotApplicable("the prior takes no training data")
    data = case.data.clone()
    data.view(-1)[0] = math.nan
    try:
        case.plugin.fit(data, streams=Streams(0, "training"))
    except (ValueError, FloatingPointError):
        return
    require(False, "No error was raised.")


@CHECKS.add()
def wrong_shape_refused(case: PriorCase) -> None:
    """States of another dimension are not refused with a ShapeError."""
    try:
        case.fitted.denoise(torch.zeros(2, case.fitted.dimension + 1).double(), LEVELS[1])
    except ShapeError:
        return
    require(False, f"States of dimension {case.fitted.dimension + 1} were accepted.")


@CHECKS.add()
def global_random_state(case: PriorCase) -> None:
    """Draws depend on a global random generator, or are not a function of the seed."""
    streams = Streams(5, "sampling")
    first, second = twice_under_global_seeds(lambda: case.fitted.sample(TILE, streams))
    require_equal(first, second, "Draws with one seed")
    other = case.fitted.sample(TILE, Streams(6, "sampling"))
    require(not torch.equal(first, other), "Two seeds give the same draws.")


@CHECKS.add()
def tiles_in_any_order(case: PriorCase) -> None:
    """The first draws depend on how many are asked for."""
    many = case.fitted.sample(2 * TILE + 6, Streams(5, "sampling"))
    few = case.fitted.sample(TILE + 3, Streams(5, "sampling"))
    require_equal(few, many[: TILE + 3], f"The first {TILE + 3} of {2 * TILE + 6} draws")
    require(not torch.equal(many[:TILE], many[TILE : 2 * TILE]), "Two tiles hold the same draws.")


@CHECKS.add()
def batch_invariance(case: PriorCase) -> None:
    """The denoiser of a batch is not the denoiser of its rows, or levels per row are not kept."""
    rows, alone, levels = [], [], []
    for level in LEVELS:
        z = case.states(level, 4)
        single = torch.cat([case.fitted.denoise(row[None], level) for row in z])
        require_close(case.fitted.denoise(z, level), single, "D(z) in a batch and alone")
        rows.append(z)
        alone.append(single)
        levels += [level] * len(z)
    a, s = (
        torch.tensor([getattr(level, name) for level in levels], dtype=torch.float64)
        for name in "as"
    )
    together = case.fitted.denoise(torch.cat(rows), NoiseLevel(a, s))
    require_close(together, torch.cat(alone), "D(z) with one level a row and with one for all")


@CHECKS.add()
def denoiser_calls_counted(case: PriorCase) -> None:
    """`denoise` or `score` of n rows is not counted as n denoiser calls.

    A prior over others counts theirs: as many for every row.
    """
    z = case.states(LEVELS[1], 5)
    composite = isinstance(case.fitted, FittedComposite)
    for name in ("denoise", "score"):
        with counting() as counts:
            getattr(case.fitted, name)(z, LEVELS[1])
        found = counts["denoiser_calls"]
        right = found > 0 and found % 5 == 0 if composite else found == 5
        require(right, f"{name} of 5 rows counts {found} calls.")


@CHECKS.add()
def dtype_kept(case: PriorCase) -> None:
    """Precision changes on the way: float32 data or states must give float32 answers."""
    single = case.fitted.to(dtype=torch.float32)
    fits = {"after to(float32)": single}
    if case.data is not None:
        fits["fitted to float32 data"] = case.fit(dtype=torch.float32)
    for how, prior in fits.items():
        require(prior.dtype == torch.float32, f"The prior {how} has dtype {prior.dtype}.")
        x = prior.sample(4, Streams(0, "sampling"))
        found = {"sample": x.dtype, "denoise": prior.denoise(x, LEVELS[1]).dtype}
        found["score"] = prior.score(x, LEVELS[1]).dtype
        if ask(prior, HasNoisedDensity) is not None:
            found["log_density"] = prior.log_density(x, LEVELS[1]).dtype
        for name, dtype in found.items():
            require(dtype == torch.float32, f"The prior {how}: {name} gives {dtype}.")
    z = case.states(LEVELS[1])
    require_close(
        single.denoise(z.float(), LEVELS[1]).double(),
        case.fitted.denoise(z, LEVELS[1]),
        "D(z) in float32 and float64",
        1e-4,
    )


@CHECKS.add()
def device(case: PriorCase) -> None:
    """On an accelerator the answers differ or leave it."""
    if not torch.cuda.is_available():
        raise NotApplicable("no accelerator here")
    moved, z = case.fitted.to("cuda"), case.states(LEVELS[1])
    require(moved.sample(4, Streams(0, "sampling")).is_cuda, "Draws leave the device.")
    found = moved.denoise(z.cuda(), LEVELS[1])
    require(found.is_cuda, "Denoised states leave the device.")
    require_close(found.cpu(), case.fitted.denoise(z, LEVELS[1]), "D(z) on cuda", 1e-9)


@CHECKS.add()
def state_round_trip(case: PriorCase) -> None:
    """A fitted prior does not survive its state: tensors, and values through JSON."""
    state = case.fitted.state()
    for name, tensor in state.tensors.items():
        require(isinstance(tensor, Tensor), f"state().tensors[{name!r}] is no tensor.")
    values = json.loads(json.dumps(state.values))
    tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
    again = case.plugin.restore(type(state)(tensors, values))
    require(type(again) is type(case.fitted), f"It comes back as a {type(again).__name__}.")
    require(again.shape == case.fitted.shape, f"Its shape becomes {again.shape}.")
    _same_draws(case.fitted, again, "the prior before and after")
    x = case.fitted.sample(2, Streams(0, "sampling"))
    require_equal(again.coordinates.to_raw(x), case.fitted.coordinates.to_raw(x), "Raw coordinates")
