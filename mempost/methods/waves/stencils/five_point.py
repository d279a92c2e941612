"""The five-point stencil of second order: K = L x S + S x L, M = I, S = diag(s).

s half-way between nodes is the mean of its neighbours. This is the textbook discretisation

    (1/s_x) d/dx((1/s_x) du/dx) + (1/s_z) d/dz((1/s_z) du/dz) + omega^2 m u = f,

multiplied by s_x s_z, which makes it symmetric and is 1 at every node of the model: data and
gradients there are the same.
"""

from __future__ import annotations

import numpy as np

from mempost.methods.waves.bands import CROSS, Offset, outer
from mempost.methods.waves.grid import Axis, Grid
from mempost.methods.waves.pml import node_positions, stretch
from mempost.methods.waves.stencils import axis as one_d


class FivePoint:
    """Second order; relative wavenumber error (k h)^2 / 24 along the axes."""

    offsets: tuple[Offset, ...] = CROSS
    coupling = 0.0
    reading = 0.0
    order = 2
    dispersion = 1 / 24

    def stiffness(self, grid: Grid, frequency: float, sigma_max: float) -> np.ndarray:
        def parts(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
            s = stretch(axis, frequency, sigma_max, node_positions(axis))
            flux = one_d.laplacian(axis, grid.spacing, (s[1:] + s[:-1]) / 2)
            return flux, one_d.identity(axis) * s

        (flux_x, s_x), (flux_z, s_z) = map(parts, grid.axes)
        return outer(CROSS, flux_x, s_z) + outer(CROSS, s_x, flux_z)

    def mass_diagonal(self, grid: Grid) -> np.ndarray:
        return np.ones(grid.padded_shape)
