"""A sampler with the problems of its checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.counters import counting
from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.posterior import Posterior
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.sampler import PosteriorSampler, Samples, TiledSampler
from mempost.core.streams import TILE, Streams
from mempost.testing.check import Catalogue, CheckFailedError, NotApplicable
from mempost.testing.comparison import require
from mempost.testing.examples import FALLBACKS, PROBLEMS, REGULARISED, nonlinear_problem
from mempost.testing.reference import MatrixOperator

STREAMS = Streams(0, "sampling")
"""The streams of all runs that are compared."""


@dataclass(frozen=True, eq=False)
class SamplerCase:
    """A sampler, and a problem where the built-in ones do not suit it."""

    plugin: PosteriorSampler
    given_problem: InverseProblem | None = None

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def problems(self) -> dict[str, InverseProblem]:
        """The problems that the sampler applies to, by name."""
        if self.given_problem is not None:
            return {"given": self.given_problem}
        return accepted(self.plugin.check)

    @cached_property
    def posteriors(self) -> dict[str, Posterior]:
        """The posteriors in closed form of the problems that have one, by name."""
        found = {name: self.plugin.posterior(problem) for name, problem in self.problems.items()}
        return {name: posterior for name, posterior in found.items() if posterior is not None}

    @property
    def problem(self) -> InverseProblem:
        """The problem of the checks that need just one."""
        return next(iter(self.problems.values()))

    @property
    def tile_size(self) -> int:
        """Samples that are computed together."""
        return self.plugin.tile_size if isinstance(self.plugin, TiledSampler) else TILE

    def run(
        self,
        n: int | None = None,
        problem: InverseProblem | None = None,
        streams: Streams = STREAMS,
        progress: Progress = silent,
    ) -> Samples:
        """``n`` samples, by default one tile."""
        n = self.tile_size if n is None else n
        return self.plugin.sample(problem or self.problem, n, streams, progress)

    @cached_property
    def recorded(self) -> tuple[Samples, list[tuple[int, int]], Counter[str]]:
        """One tile of samples, the calls of progress (done, total), and what was counted."""
        calls: list[tuple[int, int]] = []

        def record(done: int, total: int, note: str = "") -> None:
            calls.append((done, total))

        with counting() as counts:
            samples = self.run(progress=record)
        return samples, calls, counts

    @property
    def tile(self) -> Samples:
        """One tile of samples."""
        return self.recorded[0]

    @cached_property
    def several(self) -> Samples:
        """Two tiles and six samples more."""
        return self.run(2 * self.tile_size + 6)

    def rows(self, samples: Samples) -> Tensor:
        """One row a sample or a chain, (n, draws, d)."""
        values = samples.values
        return values.movedim(0, 1) if values.shape[0] == 1 else values


CHECKS: Catalogue[SamplerCase] = Catalogue("sampler", SamplerCase)


def converted(
    problem: InverseProblem, dtype: torch.dtype | None = None, device: str | None = None
) -> InverseProblem:
    """The same problem in another precision or on another device."""
    y = problem.y
    if dtype is not None:
        y = y.to(dtype.to_complex() if y.is_complex() else dtype)
    prior = problem.prior.to(device, dtype)
    return InverseProblem(prior, problem.operator, problem.noise, y.to(device))


def with_noise_scaled(problem: InverseProblem, factor: float) -> InverseProblem:
    """The same problem under so many times the noise."""
    operator, noise, y = problem.asked
    if not isinstance(noise, GaussianNoise):
        raise NotApplicable("the noise of the problem is not Gaussian")
    return InverseProblem(problem.prior, operator, noise.scaled(factor), y)


def uneven_problems(prior: FittedPrior) -> tuple[InverseProblem, InverseProblem]:
    """Correlated data with one missing, and the same whitened: both have one posterior."""
    m, d = 3, prior.dimension
    matrix = 1.0 + torch.arange(m * d, dtype=torch.float64).reshape(m, d).sin()
    covariance = [[0.16, 0.1, 0.0], [0.1, 1.0, -0.3], [0.0, -0.3, 2.0]]
    gone = torch.tensor([False, True, False])
    law = GaussianNoise.of_covariance(covariance).without(gone)
    y = torch.tensor([0.4, torch.nan, -0.2], dtype=torch.float64)
    matrices = matrix, law.components(matrix.mT).mT
    data = y, law.components(y)
    noises = law, GaussianNoise(law.std)
    first, second = (
        InverseProblem(prior, MatrixOperator(matrix=FrozenArray(A)), noise, values)
        for A, noise, values in zip(matrices, noises, data, strict=True)
    )
    return first, second


def accepted(check: Callable[[InverseProblem], None]) -> dict[str, InverseProblem]:
    """The example problems that a plugin's ``check`` does not refuse, by name.

    Raises:
        CheckFailedError: it refuses all of them.
    """
    reasons: list[str] = []
    for problems in (PROBLEMS, FALLBACKS, REGULARISED):
        found = {}
        for name, make in problems.items():
            problem = make()
            try:
                check(problem)
                found[name] = problem
            except PluginError as error:
                reasons.append(str(error))
        if found:
            return found
    raise CheckFailedError(f"It refuses every example problem ({reasons[0]}): give problem=.")


def require_nonlinear_refused(check: Callable[[InverseProblem], None]) -> None:
    """Fail unless a ``check`` refuses a nonlinear operator."""
    try:
        check(nonlinear_problem())
    except PluginError:
        return
    require(False, "check(problem) raises no PluginError for F(x) = x + x^3 / 10.")
