"""Checks of noise schedules: levels that samplers can walk down, and rates that are theirs.

The forward process dz = f z dt + g dW of a schedule has d log a / dt = f and d s^2 / dt = 2 f s^2 +
g^2. Both are compared with central differences of the levels, away from the ends and at times that
are no multiple of anything, so that a schedule may have kinks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.schedule import NoiseSchedule
from mempost.testing.check import Catalogue
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import require, require_close

_DOUBLE = torch.float64
_TIMES = (torch.arange(1, 24, dtype=_DOUBLE) + 0.3819660113) / 25
_STEP = 1e-5
_DIFFERENCES = 1e-4
"""Relative error of the differences, truncation and rounding together."""


@dataclass(frozen=True, eq=False)
class ScheduleCase:
    """A schedule."""

    plugin: NoiseSchedule

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    def levels(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        level = self.plugin.level(t)
        return torch.as_tensor(level.a), torch.as_tensor(level.s)

    def rate(self, of: int) -> Float[Tensor, " times"]:
        """d log a / dt (0) or d s^2 / dt (1) by central differences."""

        def quantity(t: Tensor) -> Tensor:
            a, s = self.levels(t)
            return s.square() if of else a.log()

        return (quantity(_TIMES + _STEP) - quantity(_TIMES - _STEP)) / (2 * _STEP)


CHECKS: Catalogue[ScheduleCase] = Catalogue("schedule", ScheduleCase)
add_recipe_checks(CHECKS)


@CHECKS.add()
def float64(case: ScheduleCase) -> None:
    """Levels or rates are not float64, so that small noise is lost to rounding."""
    a, s = case.levels(0.4)
    rates = case.plugin.drift(0.4), case.plugin.diffusion_squared(0.4)
    for name, value in zip(("a", "s", "f", "g^2"), (a, s, *rates)):
        require(value.dtype == _DOUBLE, f"{name} is {value.dtype}.")


@CHECKS.add()
def per_sample_times(case: ScheduleCase) -> None:
    """A time per sample gives other values than each time alone, or another shape."""
    schedule = case.plugin
    for name, values in (
        ("a", lambda t: case.levels(t)[0]),
        ("s", lambda t: case.levels(t)[1]),
        ("f", schedule.drift),
        ("g^2", schedule.diffusion_squared),
    ):
        together = values(_TIMES)
        require(
            together.shape == _TIMES.shape,
            f"{name} of {len(_TIMES)} times has shape {tuple(together.shape)}.",
        )
        alone = torch.stack([torch.as_tensor(values(float(t))) for t in _TIMES])
        require_close(together, alone, f"{name} of many times and of each")


@CHECKS.add()
def signal_and_noise(case: ScheduleCase) -> None:
    """a is not positive at every time (also the last), or s is negative or not finite."""
    t = torch.linspace(0, 1, 257, dtype=_DOUBLE)
    a, s = case.levels(t)
    for name, wrong in (
        ("a", ~(torch.isfinite(a) & (a > 0))),
        ("s", ~(torch.isfinite(s) & (s >= 0))),
    ):
        if wrong.any():
            i = int(wrong.nonzero()[0])
            value = (a if name == "a" else s).broadcast_to(t.shape)[i]
            require(False, f"{name} is {float(value):g} at t = {float(t[i]):g}.")


@CHECKS.add()
def noise_grows(case: ScheduleCase) -> None:
    """sigma = s/a does not grow with time, or there is no noise at ``first_time``."""
    t = torch.linspace(0, 1, 257, dtype=_DOUBLE)
    a, s = case.levels(t)
    falls = ((s / a).diff() <= 0).nonzero().flatten()
    if len(falls):
        require(False, f"It does not grow at t = {float(t[int(falls[0])]):g}.")
    first = case.plugin.first_time
    require(0 <= first < 1, f"first_time is {first:g}, allowed are times in [0, 1).")
    require(float(case.levels(first)[1]) > 0, f"s = 0 at first_time = {first:g}.")


@CHECKS.add()
def drift_is_the_rate(case: ScheduleCase) -> None:
    """``drift`` is not d log a / dt."""
    found, expected = case.plugin.drift(_TIMES), case.rate(0)
    worst = (found - expected).abs() - _DIFFERENCES * expected.abs()
    i = int(worst.argmax())
    require(
        float(worst[i]) <= 1e-6,
        f"At t = {float(_TIMES[i]):.3g} it is {float(found[i]):.6g}, by differences "
        f"{float(expected[i]):.6g}.",
    )


@CHECKS.add()
def diffusion_is_the_rate(case: ScheduleCase) -> None:
    """``diffusion_squared`` is not d s^2 / dt - 2 f s^2, with f by differences too, or negative."""
    found = case.plugin.diffusion_squared(_TIMES)
    _, s = case.levels(_TIMES)
    rate, drift = case.rate(1), 2 * case.rate(0) * s.square()
    worst = (found - (rate - drift)).abs() - _DIFFERENCES * (rate.abs() + drift.abs())
    i = int(worst.argmax())
    require(
        float(worst[i]) <= 1e-9,
        f"At t = {float(_TIMES[i]):.3g} it is {float(found[i]):.6g}, by differences "
        f"{float((rate - drift)[i]):.6g}.",
    )
    require(bool((found >= 0).all()), "g^2 is negative.")


@CHECKS.add()
def times_fall(case: ScheduleCase) -> None:
    """``times`` does not fall from 1 to ``t_min`` in the number of steps asked for."""
    for steps, t_min in ((1, 0.0), (7, 0.01)):
        t = case.plugin.times(steps, t_min)
        require(tuple(t.shape) == (steps + 1,), f"{steps} steps have {tuple(t.shape)} times.")
        require_close(
            t[[0, -1]], torch.tensor([1.0, t_min], dtype=_DOUBLE), "The first and last time"
        )
        require(bool((t.diff() < 0).all()), "The times do not fall.")
