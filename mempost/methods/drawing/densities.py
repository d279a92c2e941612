"""Densities on grids, for figures: what a sampler's posterior looks like, or a histogram."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import HasDensity, ask
from mempost.core.result import Result

Window = tuple[float, float]


def posterior_density(result: Result, x: Float[Tensor, "n d"]) -> np.ndarray | None:
    """p(x | y) of the sampler's posterior (n,); None if it has no density."""
    return _density(result.posterior, x)


def prior_density(result: Result, x: Float[Tensor, "n d"]) -> np.ndarray | None:
    """p(x) of the prior (n,); None if it has no density."""
    return _density(result.problem.prior, x)


def _density(law: object, x: Float[Tensor, "n d"]) -> np.ndarray | None:
    known = ask(law, HasDensity)
    return None if known is None else known.log_density(x).exp().cpu().numpy()


def likelihood(result: Result, x: Float[Tensor, "n d"]) -> np.ndarray | None:
    """p(y | x) as a density in x over equally spaced points (n,), up to the spacing.

    None if the study asks no question.
    """
    if result.problem.question is None:
        return None
    log_l = result.problem.log_likelihood(x)
    return torch.softmax(log_l, 0).cpu().numpy()


def training_points(result: Result) -> Float[Tensor, "n d"]:
    """The training examples as rows; none if the problem has no data."""
    if result.data is None:
        return torch.zeros(0, result.problem.dimension)
    return result.data.train.flatten(1)


def window_of(results: list[Result], coordinate: int, margin: float) -> Window:
    """An interval that holds the training points, the truths and the posteriors."""
    low, high = np.inf, -np.inf
    for result in results:
        values = [training_points(result)[:, coordinate]]
        if result.truth is not None:
            values.append(result.truth[coordinate, None])
        if result.posterior is not None:
            mean, std = result.posterior.mean()[coordinate], result.posterior.std()[coordinate]
            values.append(torch.stack([mean - 2 * std, mean + 2 * std]))
        elif result.data is None:
            values.append(result.samples.flat[:, coordinate])
        for value in values:
            if len(value):
                low, high = min(low, float(value.min())), max(high, float(value.max()))
    width = high - low if high > low else 1.0
    return low - margin * width, high + margin * width


def line(window: Window, n: int, result: Result) -> Float[Tensor, "n 1"]:
    """Equally spaced points in the prior's precision."""
    prior = result.problem.prior
    return torch.linspace(*window, n, dtype=prior.dtype, device=prior.device)[:, None]


def plane(x: Window, y: Window, n: int, result: Result) -> Float[Tensor, "n2 2"]:
    """A regular n x n grid, the second coordinate slowest."""
    prior = result.problem.prior
    first, second = (torch.linspace(*w, n, dtype=prior.dtype, device=prior.device) for w in (x, y))
    return torch.cartesian_prod(second, first).flip(1)


def region_levels(density: np.ndarray, masses: tuple[float, ...]) -> list[float]:
    """Density levels whose superlevel sets hold the given masses, ascending.

    The highest density regions of a density on a regular grid; levels that coincide, where the
    grid is too coarse for the density, are given once.
    """
    ordered = np.sort(density.ravel())[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    index = [min(int(np.searchsorted(held, mass)), len(ordered) - 1) for mass in masses]
    return sorted({float(ordered[i]) for i in index})
