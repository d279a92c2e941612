"""The compact nine-point stencil of fourth order, in a symmetric form.

    K = L x P + P x L,      P = (T S + S T)/2,      S = diag(s),
    M = I x I + (T - I) x I + I x (T - I)           (2/3, and 1/12 for each of four neighbours).

The plain scheme (K + M W) u = M f has fourth order and is not symmetric. With

    A = K + (M W + W M)/2,      E = I - (h^2/24) W,

one finds E A E^-1 = K + M W + O(h^4), since M W - A + K = [M, W]/2 is (h^2/24) [Laplacian, W] to
that order. So u = E A^-1 E^-1 M f, and away from the source E^-1 M f may be replaced by E f: with
Laplacian = A - W the two differ by O(h^4) and by terms that stay where f is. Data read as
d = R E A^-1 E R_s^T have fourth order, therefore, and are exactly reciprocal.

References: Collatz 1960, "The numerical treatment of differential equations"; Singer & Turkel
1998, "High-order finite difference methods for the Helmholtz equation".
"""

from __future__ import annotations

import numpy as np

from mempost.methods.waves.bands import SQUARE, Offset, outer
from mempost.methods.waves.grid import Axis, Grid
from mempost.methods.waves.pml import node_positions, stretch
from mempost.methods.waves.stencils import axis as one_d


class Compact:
    """Fourth order; relative wavenumber error (k h)^4 / 480 along the axes."""

    offsets: tuple[Offset, ...] = SQUARE
    coupling = 1 / 12
    reading = 1 / 24
    order = 4
    dispersion = 1 / 480

    def stiffness(self, grid: Grid, frequency: float, sigma_max: float) -> np.ndarray:
        def parts(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
            nodes = node_positions(axis)
            s = stretch(axis, frequency, sigma_max, nodes)
            half = stretch(axis, frequency, sigma_max, nodes[:-1] + 0.5)
            mean = np.stack([s + np.roll(s, 1), 2 * s, s + np.roll(s, -1)]) / 2
            return one_d.laplacian(axis, grid.spacing, half), one_d.average(axis) * mean

        (flux_x, p_x), (flux_z, p_z) = map(parts, grid.axes)
        return outer(SQUARE, flux_x, p_z) + outer(SQUARE, p_x, flux_z)

    def mass_diagonal(self, grid: Grid) -> np.ndarray:
        t_x, t_z = (one_d.average(axis)[1] for axis in grid.axes)
        return np.add.outer(t_x, t_z) - 1
