"""The posterior by quadrature, in one and two dimensions.

    p(x | y) = p(x) p(y | x) / p(y),        p(y) = int p(x) p(y | x) dx

by the trapezoid rule. The grid starts with a spacing no wider than the narrowest component of the
prior, and is halved until the log evidence, the mean and the covariance do not move any more.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import Matrix
from mempost.core.capabilities import HasComponents, HasDensity, ask, require
from mempost.core.errors import PluginError
from mempost.core.problem import InverseProblem
from mempost.core.sampler import ExactSampler, require_finite
from mempost.methods.posteriors.grid_posterior import GridPosterior

_STANDARD_DEVIATIONS = 8.0
"""Half-width of the first box beyond the outermost means."""
_NEGLIGIBLE = 40.0
"""Log density below the maximum at which the boundary of the box no longer matters."""
_LEAST = {1: 1024, 2: 256}
"""Intervals along an axis of the first grid, for expectations that are less smooth than moments."""


class Quadrature(ExactSampler):
    """The posterior itself, integrated on a grid in one or two dimensions.

    Any operator and any prior with a log density. The box comes from a mixture prior, and grows
    until the posterior is negligible at its boundary; other priors need ``bounds``.
    """

    tags = frozenset({"closed_form", "exact", "uses_noise_level"})

    bounds: Matrix | None = Field(
        None, description="lower and upper bound of each coordinate, (d, 2); the posterior inside"
    )
    tolerance: float = Field(
        1e-8, gt=0, description="accepted change of log evidence and moments (in posterior std)"
    )
    max_nodes: int = Field(2**24, ge=9, description="largest grid")

    @model_validator(mode="after")
    def _bounds_increase(self) -> Quadrature:
        if self.bounds is not None:
            values = self.bounds.numpy()
            if values.shape[1] != 2 or not (values[:, 0] < values[:, 1]).all():
                raise ValueError(
                    "bounds should be one pair [lower, upper] with lower < upper a coordinate, "
                    f"found {values.tolist()}"
                )
        return self

    def check(self, problem: InverseProblem) -> None:
        """Refuse more than two dimensions, atoms, and a box that cannot be known."""
        d, prior = problem.dimension, problem.prior
        if d > 2:
            raise PluginError(
                f"quadrature integrates in one and two dimensions, found {d}; use exact_lgm for "
                "linear operators, or finite_sample_weights for bandwidth 0"
            )
        if self.bounds is not None and len(self.bounds) != d:
            raise PluginError(f"quadrature: bounds of {len(self.bounds)} coordinates, found {d}")
        require(prior, HasDensity, "quadrature", "use finite_sample_weights for atoms")
        if self.bounds is None:
            require(prior, HasComponents, "quadrature without bounds", "give bounds")

    def posterior(self, problem: InverseProblem) -> GridPosterior:
        """Integrate on finer and finer grids.

        Raises:
            PluginError: the method does not apply, or ``max_nodes`` do not suffice.
        """
        self.check(problem)
        like = problem.prior.coordinates.location
        tolerance = max(self.tolerance, 200 * torch.finfo(like.dtype).eps)
        if self.bounds is None:
            coarse = self._grow(problem)
        else:
            lower, upper = self.bounds.tensor(like.dtype, like.device).T
            coarse = _evaluate(problem, lower, upper, self._intervals(problem, lower, upper))
        while True:
            intervals = tuple(2 * (n - 1) for n in coarse.log_values.shape)
            self._check_size(intervals, coarse.lower, coarse.upper)
            fine = _evaluate(problem, coarse.lower, coarse.upper, intervals)
            if _change(coarse, fine) <= tolerance:
                return fine
            coarse = fine

    def _grow(self, problem: InverseProblem) -> GridPosterior:
        """Start from the components, and double the box wherever the posterior reaches its edge."""
        prior = require(problem.prior, HasComponents, "quadrature without bounds", "give bounds")
        index = torch.arange(len(prior.means))
        reach = _STANDARD_DEVIATIONS * prior.component_variances(index).sqrt()
        lower, upper = (prior.means - reach).amin(0), (prior.means + reach).amax(0)
        while True:
            grid = _evaluate(problem, lower, upper, self._intervals(problem, lower, upper))
            low, high = _reached(grid)
            if not bool((low | high).any()):
                return grid
            width = upper - lower
            lower, upper = lower - low * width, upper + high * width

    def _intervals(self, problem: InverseProblem, lower: Tensor, upper: Tensor) -> tuple[int, ...]:
        """Intervals no wider than the narrowest component, and `_LEAST` at least."""
        least = _LEAST[len(lower)]
        needed = [least] * len(lower)
        if (mixture := ask(problem.prior, HasComponents)) is not None:
            ratios = ((upper - lower) / _narrowest(mixture)).ceil().tolist()
            needed = [max(least, int(ratio)) for ratio in ratios]
        self._check_size(tuple(needed), lower, upper)
        return tuple(needed)

    def _check_size(self, intervals: tuple[int, ...], lower: Tensor, upper: Tensor) -> None:
        nodes = 1
        for n in intervals:
            nodes *= n + 1
        if nodes > self.max_nodes:
            box = " x ".join(f"[{low:.4g}, {high:.4g}]" for low, high in zip(lower, upper))
            raise PluginError(
                f"quadrature needs {nodes} nodes on {box}, more than max_nodes = {self.max_nodes}: "
                "the bandwidth or the posterior is narrow. Raise max_nodes or tolerance, give "
                "narrower bounds, or use finite_sample_weights (bandwidth near 0) or exact_lgm "
                "(linear operators)"
            )


def _evaluate(
    problem: InverseProblem, lower: Tensor, upper: Tensor, intervals: tuple[int, ...]
) -> GridPosterior:
    grid = GridPosterior.evaluate(problem, lower, upper, intervals)
    values = grid.log_values.flatten()
    require_finite(torch.where(values.isneginf(), 0.0, values), "log posterior at a node")
    return grid


def _narrowest(prior: HasComponents) -> Tensor:
    """Smallest standard deviation of a component along each coordinate (d,)."""
    index = torch.arange(len(prior.means))
    return prior.component_variances(index).amin(0).sqrt()


def _reached(grid: GridPosterior) -> tuple[Tensor, Tensor]:
    """Whether the posterior is more than negligible at the lower and the upper end of each axis."""
    floor = grid.log_values.max() - _NEGLIGIBLE
    axes = range(grid.log_values.ndim)
    low = [(grid.log_values.select(axis, 0) > floor).any() for axis in axes]
    high = [(grid.log_values.select(axis, -1) > floor).any() for axis in axes]
    return torch.stack(low), torch.stack(high)


def _change(coarse: GridPosterior, fine: GridPosterior) -> float:
    """Largest change of the log evidence and of the moments, in units of the standard deviation."""
    covariance = fine.covariance()
    scale = torch.maximum(covariance.diagonal().clamp(min=0).sqrt(), fine.spacing)
    changes = (
        (fine.log_evidence - coarse.log_evidence).abs(),
        ((fine.mean() - coarse.mean()) / scale).abs().max(),
        ((covariance - coarse.covariance()) / torch.outer(scale, scale)).abs().max(),
    )
    return float(torch.stack(changes).max())
