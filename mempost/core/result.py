"""What metrics measure and figures draw: a run, a point of the sweep, data with their prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from mempost.core.dataset import Data
from mempost.core.errors import PluginError, nearest
from mempost.core.measured import Array
from mempost.core.posterior import Posterior
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.sampler import PosteriorSampler, Samples
from mempost.core.streams import Streams


@dataclass(eq=False)
class Result:
    """One sampler on one problem.

    Attributes:
        key: the sampler's name in the spec.
        point: the coordinates of the sweep, dotted path to value.
        sampler: the sampler itself.
        problem: prior, operator, noise and data.
        data: training and held-out examples in the prior's coordinates, (N, *shape), or None.
        truth: the x that made the data, in the prior's coordinates (d,), or None if unknown.
        seed: the seed of the spec.
        load_samples: gives the samples when they are first asked for.
        siblings: gives the result of another sampler, by key, at the same point of the sweep.
        load_measured: gives what the metrics have measured when it is first asked for.
    """

    key: str
    point: Mapping[str, Any]
    sampler: PosteriorSampler
    problem: InverseProblem
    data: Data | None
    truth: Tensor | None
    seed: int
    load_samples: Callable[[], Samples]
    siblings: Mapping[str, Result] = field(default_factory=dict)
    load_measured: Callable[[], Mapping[str, Array]] = dict

    @cached_property
    def samples(self) -> Samples:
        """The draws of the sampler."""
        return self.load_samples()

    @cached_property
    def posterior(self) -> Posterior | None:
        """The posterior in closed form, where the sampler has one."""
        return self.sampler.posterior(self.problem)

    @cached_property
    def measured(self) -> dict[str, Array]:
        """What the metrics have measured, by variable: of the run, of its point and of its data."""
        return dict(self.load_measured())

    @property
    def streams(self) -> Streams:
        """Random streams for metrics, equal in all runs that are compared."""
        return Streams(self.seed, "metric")

    def sibling(self, key: str) -> Result:
        """The result of the sampler named ``key`` on the same problem."""
        if key not in self.siblings:
            raise PluginError(
                f"no sampler {key!r} in this study; samplers are {', '.join(self.siblings)}."
                + nearest(key, self.siblings)
            )
        return self.siblings[key]


@dataclass(frozen=True, eq=False)
class PointResults:
    """All samplers at one point of the sweep.

    Attributes:
        problem: prior, operator, noise and data that they share.
        data: training and held-out examples in the prior's coordinates, (N, *shape), or None.
        truth: the x that made the data, in the prior's coordinates (d,), or None if unknown.
        seed: the seed of the spec.
        results: the results that the metric needs, by key.
    """

    problem: InverseProblem
    data: Data | None
    truth: Tensor | None
    seed: int
    results: Mapping[str, Result]

    @property
    def streams(self) -> Streams:
        """Random streams for metrics, equal in all that are compared."""
        return Streams(self.seed, "metric")


@dataclass(frozen=True, eq=False)
class DataAndPrior:
    """Training data, and the prior that was fitted to them.

    Attributes:
        data: training and held-out examples in the prior's coordinates, (N, *shape), or None.
        prior: the fitted prior.
        seed: the seed of the spec.
    """

    data: Data | None
    prior: FittedPrior
    seed: int

    @property
    def streams(self) -> Streams:
        """Random streams for metrics, equal in all that are compared."""
        return Streams(self.seed, "metric")
