"""Simultaneous confidence bands for the empirical distribution function of uniform numbers.

At K points z_k = k/K the number of values below z_k is binomial. Pointwise intervals of level
1 - g, from the quantiles of Bin(n, z_k), hold all at once with a smaller probability, which follows
from a recursion: given that r values lie below z_(k-1),

    #{u < z_k} - r  ~  Bin(n - r, (z_k - z_(k-1))/(1 - z_(k-1))).

The band takes the largest g that keeps this probability at the level asked for.

Reference: Saeilynoja, Buerkner & Vehtari 2022, "Graphical test for discrete uniformity and its
applications in goodness-of-fit evaluation and multiple sample comparison".
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom


class Band(NamedTuple):
    """Bounds of the empirical distribution function at the points z (K,), 1 included."""

    z: np.ndarray
    low: np.ndarray
    high: np.ndarray


@lru_cache(maxsize=32)
def simultaneous_band(n: int, confidence: float = 0.95, points: int = 100) -> Band:
    """The band that ``n`` uniform numbers leave with probability 1 - ``confidence`` at most."""
    z = np.arange(1, points + 1) / points
    wide, narrow = (1 - confidence) / points, 1 - confidence  # Bonferroni holds, one point does not
    for _ in range(25):
        middle = np.sqrt(wide * narrow)
        enough = _probability_inside(n, z, *_bounds(n, z, middle)) >= confidence
        wide, narrow = (middle, narrow) if enough else (wide, middle)
    low, high = _bounds(n, z, wide)
    return Band(z, low / n, high / n)


GRID = np.linspace(0, 1, 501)
"""Where distribution functions are kept for pictures."""


def ecdf(u: np.ndarray) -> np.ndarray:
    """Share of the numbers u (..., n) that are not above each point of `GRID`, (..., 501)."""
    ordered = np.sort(u, axis=-1)
    flat = ordered.reshape(-1, ordered.shape[-1])
    found = np.stack([np.searchsorted(row, GRID, side="right") for row in flat])
    return found.reshape(*u.shape[:-1], len(GRID)) / u.shape[-1]


def band_from_zero(n: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (K + 1,) from 0 on, and there the uniform law with its band (K + 1, 3)."""
    band = simultaneous_band(n, confidence, min(n, 100))
    z, low, high = (np.concatenate([[0.0], part]) for part in band)
    return z, np.stack([z, low, high], 1)


def _bounds(n: int, z: np.ndarray, g: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts between the quantiles g/2 and 1 - g/2."""
    low, high = binom.ppf(g / 2, n, z), binom.ppf(1 - g / 2, n, z)
    return low.astype(int), high.astype(int)


def _probability_inside(n: int, z: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """P(low_k <= #{u < z_k} <= high_k for all k)."""
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    reached, probability = np.array([0]), np.array([1.0])
    for k in range(len(z) - 1):  # all values lie below z_K = 1
        before = z[k - 1] if k else 0.0
        p = (z[k] - before) / (1 - before)
        to = np.arange(low[k], high[k] + 1)
        added = to[:, None] - reached
        log_pmf = (
            (log_factorial[n - reached] - log_factorial[n - to][:, None])
            - log_factorial[np.maximum(added, 0)]
            + added * np.log(p)
            + (n - to)[:, None] * np.log1p(-p)
        )
        probability = np.where(added >= 0, np.exp(log_pmf), 0.0) @ probability
        reached = to
    return float(probability.sum())
