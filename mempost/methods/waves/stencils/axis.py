"""One-dimensional parts of both stencils, as bands (3, N) with x[1 + o, i] the entry (i, i + o).

    L = d/dx (1/s) d/dx,      T = 1 + (h^2/12) d^2/dx^2 = tridiag(1/12, 5/6, 1/12).

At a free surface the pressure is odd about the edge, so that the node beyond it holds minus the
value of the last one. At the outer rim of a layer, where nothing is left of the wave, the
missing flux of L and the missing neighbour of T are dropped.
"""

from __future__ import annotations

import numpy as np

from mempost.methods.waves.grid import Axis


def laplacian(axis: Axis, spacing: float, half: np.ndarray) -> np.ndarray:
    """L, given s half-way between the nodes, (N - 1,)."""
    flux = 1 / (half * spacing**2)
    bands = np.zeros((3, axis.padded), dtype=np.complex128)
    bands[0, 1:] = bands[2, :-1] = flux
    bands[1, 1:] -= flux
    bands[1, :-1] -= flux
    for end, free in zip((0, -1), axis.free, strict=True):
        if free:
            bands[1, end] -= 2 / spacing**2
    return bands


def identity(axis: Axis) -> np.ndarray:
    """The identity."""
    bands = np.zeros((3, axis.padded))
    bands[1] = 1
    return bands


def average(axis: Axis) -> np.ndarray:
    """T."""
    bands = np.zeros((3, axis.padded))
    bands[0, 1:] = bands[2, :-1] = 1 / 12
    bands[1] = 5 / 6
    for end, free in zip((0, -1), axis.free, strict=True):
        if free:
            bands[1, end] -= 1 / 12
    return bands
