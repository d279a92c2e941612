"""Noise levels to train at: a distribution over a schedule, on all of it or on intervals.

Every schedule is z = a x + s e, and z/a = x + sigma e with sigma = s/a. So a network is trained
at levels sigma = Q(t) with t uniform on [0, 1], where Q is either of

    uniform       Q(t) = s/a at the time t_min + t (1 - t_min) of the schedule
    log_normal    log sigma ~ N(mean, std^2), cut at the ends of the schedule

"Gap training" leaves levels out (Dodson et al. 2026): where intervals of sigma are given, t is
uniform on their preimage under Q. The levels of a batch are stratified, t_i = (i + v_i)/B with v_i
uniform, which has the same mean and less variance (Kingma, Salimans, Poole & Ho 2021).

References: Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based
generative models"; Dodson, Gao, Wang, Wang & Wan 2026, "Two calm ends and the wild middle"; Kingma,
Salimans, Poole & Ho 2021, "Variational diffusion models".
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.plugin import Recipe
from mempost.core.schedule import NoiseSchedule
from mempost.core.streams import Stream
from mempost.core.variants import ONE_OF

Interval = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
"""Noise levels from the first to the second number."""


class UniformTimes(Recipe):
    """Times of the schedule, uniform from ``t_min`` to 1."""

    type: Literal["uniform"] = "uniform"
    t_min: float | None = Field(
        None, ge=0, lt=1, description="by default the schedule's earliest time with noise"
    )

    def start(self, schedule: NoiseSchedule) -> float:
        """The smallest time."""
        return schedule.first_time if self.t_min is None else self.t_min


class LogNormalLevels(Recipe):
    """log sigma ~ N(mean, std^2), cut at the ends of the schedule."""

    type: Literal["log_normal"] = "log_normal"
    mean: float = -1.2
    std: float = Field(1.2, gt=0)


Times = Annotated[UniformTimes | LogNormalLevels, ONE_OF]
"""A distribution of levels in a spec: ``{type: log_normal, mean: -0.5}``."""


class TrainingLevels:
    """The distribution of sigma in training.

    Attributes:
        intervals: disjoint intervals of sigma, ascending, that hold all training levels.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        times: UniformTimes | LogNormalLevels,
        train_on: tuple[Interval, ...] | None = None,
        skip: tuple[Interval, ...] = (),
    ) -> None:
        """All of the schedule, or the intervals ``train_on``, without the intervals ``skip``.

        Raises:
            ValueError: an interval is empty, or nothing is left to train on.
        """
        self._schedule, self._times = schedule, times
        whole = times if isinstance(times, UniformTimes) else UniformTimes()
        self._start = whole.start(schedule)
        ends = self._schedule.sigma(torch.tensor([self._start, 1.0]).double()).tolist()
        if not 0 < ends[0] < ends[1]:
            raise ValueError(
                f"levels of training run from sigma = {ends[0]:g} at t = {self._start:g} to "
                f"{ends[1]:g}; allowed are positive ones that grow"
            )
        self._ends = (ends[0], ends[1])
        self.intervals = _remaining(self._ends, train_on, skip)
        if not self.intervals:
            raise ValueError(
                f"no noise level is left to train on: the schedule has sigma from {ends[0]:.3g} to "
                f"{ends[1]:.3g}"
            )
        self._bounds = torch.tensor(self.intervals, dtype=torch.float64)
        self._times_of_bounds = self._inverse(self._bounds)
        lengths = self._times_of_bounds[:, 1] - self._times_of_bounds[:, 0]
        self._cumulative = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])

    @property
    def low(self) -> float:
        """The smallest level in training."""
        return self.intervals[0][0]

    @property
    def high(self) -> float:
        """The largest level in training."""
        return self.intervals[-1][1]

    def draw(self, n: int, stream: Stream) -> Float[Tensor, " n"]:
        """n stratified levels, ascending, float64."""
        v = (torch.arange(n, dtype=torch.float64) + stream.uniform((n,))) / n * self._cumulative[-1]
        if len(self.intervals) == 1:
            return self.quantile(self._times_of_bounds[0, 0] + v).clamp(self.low, self.high)
        part = torch.searchsorted(self._cumulative, v, right=True) - 1
        part = part.clamp(0, len(self.intervals) - 1)
        t = self._times_of_bounds[part, 0] + v - self._cumulative[part]
        return self.quantile(t).clamp(self._bounds[part, 0], self._bounds[part, 1])

    def quantile(self, t: Tensor) -> Tensor:
        """Q(t), increasing, for t in [0, 1]."""
        if isinstance(self._times, UniformTimes):
            return self._schedule.sigma(self._start + t * (1 - self._start))
        mean, std = self._times.mean, self._times.std
        low, high = (_normal_cdf((math.log(end) - mean) / std) for end in self._ends)
        levels = torch.exp(mean + std * torch.special.ndtri(low + t * (high - low)))
        return levels.clamp(*self._ends)

    def _inverse(self, sigma: Tensor) -> Tensor:
        """Q^-1 by bisection, to rounding."""
        low, high = torch.zeros_like(sigma), torch.ones_like(sigma)
        for _ in range(60):
            middle = (low + high) / 2
            above = self.quantile(middle) >= sigma
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return high


@lru_cache(maxsize=32)
def training_levels(
    schedule: NoiseSchedule,
    times: UniformTimes | LogNormalLevels,
    train_on: tuple[Interval, ...] | None,
    skip: tuple[Interval, ...],
) -> TrainingLevels:
    """The distribution of a recipe, remembered."""
    return TrainingLevels(schedule, times, train_on, skip)


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _remaining(
    ends: tuple[float, float], train_on: tuple[Interval, ...] | None, skip: tuple[Interval, ...]
) -> tuple[Interval, ...]:
    """The intervals within both ends that are trained on, disjoint and ascending."""
    for low, high in (*(train_on or ()), *skip):
        if not low < high:
            raise ValueError(f"an interval of noise levels runs from {low:g} to {high:g}")
    joined: list[Interval] = []
    for low, high in sorted(train_on if train_on is not None else (ends,)):
        low, high = max(low, ends[0]), min(high, ends[1])
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        elif low < high:
            joined.append((low, high))
    for a, b in skip:
        cut = [((low, min(high, a)), (max(low, b), high)) for low, high in joined]
        joined = [(low, high) for pair in cut for low, high in pair if low < high]
    return tuple(joined)
