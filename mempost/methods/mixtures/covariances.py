"""Covariances as hyper-parameters: a variance, a diagonal or a full matrix for each component."""

from __future__ import annotations

import numpy as np


def expand_covariances(values: np.ndarray, count: int, d: int) -> np.ndarray:
    """Variances (count, d) of diagonal covariances, or full ones (count, d, d).

    Args:
        values: (count,) variances of isotropic covariances, (count, d) diagonals, or
            (count, d, d) matrices.
        count: number of components.
        d: dimension.

    Raises:
        ValueError: another shape, a matrix that is not symmetric, or a negative variance.
    """
    if values.shape not in {(count,), (count, d), (count, d, d)}:
        raise ValueError(
            f"covariances of {count} components in {d} dimensions have shape ({count},), "
            f"({count}, {d}) or ({count}, {d}, {d}), found {values.shape}"
        )
    if values.ndim == 1:
        values = np.repeat(values[:, None], d, axis=1)
    smallest = values.min(-1)
    if values.ndim == 3:
        scale = np.abs(values).max((-2, -1))
        rounding = 1e-12 * d * scale
        if (np.abs(values - values.swapaxes(-2, -1)).max((-2, -1)) > rounding).any():
            raise ValueError("covariances should be symmetric")
        smallest = np.linalg.eigvalsh(values)[:, 0] + rounding
    if (smallest < 0).any():
        raise ValueError(
            f"covariances should be positive semi-definite, found the variance {smallest.min():g}"
        )
    return values


def is_singular(values: np.ndarray) -> bool:
    """Whether one of the covariances, (count, d) or (count, d, d), is singular up to rounding."""
    if values.ndim == 2:
        return bool((values == 0).any())
    eigenvalues = np.linalg.eigvalsh(values)
    rounding = np.finfo(np.float64).eps * values.shape[-1]
    return bool((eigenvalues <= rounding * eigenvalues[:, -1:]).any())
