"""The norm of the score at given points against the noise level.

At z = a u the exact score of a noised training set grows like |u - x_n|/sigma^2 as noise falls, x_n
the example nearest to u: the training set has no density. A score that is bounded has been
regularised, by a penalty (Tikhonov's is at most max_n |u - x_n|/(a c)) or by what a network can
represent.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models".
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.arrays import Matrix
from mempost.core.errors import PluginError
from mempost.core.fields import PluginField, named
from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.prior import FittedPrior
from mempost.core.result import DataAndPrior
from mempost.core.schedule import NoiseSchedule
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.mixtures.kernel_mixture import KernelMixture
from mempost.methods.statistics.slopes import slopes


class ScoreGrowth(Metric):
    """Norm of the score at points off the data, against the noise level, beside the exact score.

    The score is grad log p(z) at z = a u for points u, at levels of a schedule that are equally
    spaced in log sigma. Columns ``score_largest``, the largest norm over points and levels, and
    ``score_growth``, the slope of the log norm against log sigma over the last decade, averaged
    over points: -2 for the exact score of a training set, 0 for one that is bounded. The same of
    the exact score where there are training data: ``exact_score_largest``, ``exact_score_growth``.
    Norms at every point and level are kept for pictures.
    """

    subject = "data"
    publications = (BAPTISTA_2025_MEMORIZATION,)

    points: Matrix | None = Field(
        None, description="points, one a row; null: random ones about an example"
    )
    example: int = Field(0, ge=0, description="the example that they lie about")
    spread: float = Field(0.2, gt=0, description="their standard deviation from it")
    number: int = Field(4, ge=1, description="of random points")
    schedule: Annotated[NoiseSchedule, PluginField("schedule")] = Field(
        default_factory=named("schedule", "ve"), description="levels, from its first time to 1"
    )
    t_min: float | None = Field(None, ge=0, lt=1, description="null: the schedule's first time")
    levels: int = Field(100, ge=4, description="number of levels")

    def evaluate(self, subject: DataAndPrior) -> Measured:
        prior = subject.prior
        points = self._points(subject).to(prior.device, prior.dtype)
        times = self._times()
        norms = score_norms(prior, points, self.schedule, times)
        sigma = self.schedule.sigma(times)
        found: dict[str, Variable] = _summary("score", norms, sigma)
        drawn: dict[str, Variable] = {"score_norm": (("place", "sigma"), norms)}
        if subject.data is not None:
            atoms = KernelMixture(subject.data.train.flatten(1).to(points), 0.0)
            exact = score_norms(atoms, points, self.schedule, times)
            found |= _summary("exact_score", exact, sigma)
            drawn["exact_score_norm"] = (("place", "sigma"), exact)
        return Measured(found | drawn, {"sigma": sigma.tolist()}, unlisted=drawn)

    def _points(self, subject: DataAndPrior) -> Float[Tensor, "n d"]:
        d = subject.prior.dimension
        if self.points is not None:
            points = self.points.tensor()
            if points.shape[1] != d:
                raise PluginError(
                    f"score_growth: points have {points.shape[1]} coordinates, the prior has {d}"
                )
            return points
        if subject.data is None or self.example >= len(subject.data.train):
            raise PluginError("score_growth needs points, or training data to lie about: give data")
        centre = subject.data.train.flatten(1)[self.example].double().cpu()
        return centre + self.spread * subject.streams.at().normal((self.number, d))

    def _times(self) -> Float[Tensor, " level"]:
        """Times from 1 down, at levels that are equally spaced in log sigma."""
        first = self.schedule.first_time if self.t_min is None else self.t_min
        high, low = (self.schedule.sigma(t).log() for t in (1.0, first))
        inner = torch.linspace(float(high), float(low), self.levels, dtype=torch.float64)[1:-1]
        times = [self.schedule.time_of(float(sigma)) for sigma in inner.exp()]
        return torch.tensor([1.0, *times, first], dtype=torch.float64)


def score_norms(
    prior: FittedPrior, points: Float[Tensor, "n d"], schedule: NoiseSchedule, times: Tensor
) -> Float[Tensor, "n level"]:
    """|grad log p(a u)| at points u, level by level."""
    with torch.no_grad():
        levels = [schedule.level(float(t)) for t in times]
        norms = [prior.score(float(v.a) * points, v).norm(dim=-1) for v in levels]
    return torch.stack(norms, 1).double()


def _summary(
    name: str, norms: Float[Tensor, "n level"], sigma: Float[Tensor, " level"]
) -> dict[str, Variable]:
    last = (sigma <= 10 * sigma[-1]).expand(len(norms), -1) & (norms > 0)
    growth = slopes(sigma.log(), norms.clamp(min=1e-300).log(), last)
    return {f"{name}_largest": norms.max(), f"{name}_growth": growth.mean()}
