"""The gradient as published code computes it, without its Python overhead.

The textbook five-point matrix A = D^-1 (K + W) with D = diag(s_x s_z) is not symmetric. It is
factorised in SuperLU's default order, and A^H once more for the adjoint; right-hand sides are
solved one by one; the adjoint of the continuation into the layers is left out. In complex64.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from mempost.methods.waves.backends.protocol import Layout
from mempost.methods.waves.bands import CROSS
from mempost.methods.waves.grid import Grid
from mempost.methods.waves.pml import node_positions, stretch
from mempost.methods.waves.stencils.five_point import FivePoint


class ReferenceMethod:
    """Five points, 200 x 200 nodes of 0.01 km, layers of 30 cells, 6 Hz."""

    n, spacing, frequency, cells, sigma_max = 200, 0.01, 6.0, 30, 200.0

    def __init__(self, sources: np.ndarray, receivers: np.ndarray) -> None:
        """Positions (k, 2) as node indices."""
        self.grid = Grid.build((self.n, self.n), self.spacing, self.cells, ())
        layout = Layout(self.grid.padded_shape, CROSS)
        self.row, self.column, position = layout.entries()
        s_x, s_z = (
            stretch(axis, self.frequency, self.sigma_max, node_positions(axis))
            for axis in self.grid.axes
        )
        stiffness = FivePoint().stiffness(self.grid, self.frequency, self.sigma_max)
        self.laplacian = (stiffness / np.multiply.outer(s_x, s_z)).ravel()[position]
        self.diagonal = self.row == self.column
        self.sources, self.receivers = (
            (p[:, 0] + self.cells) * self.grid.padded_shape[1] + p[:, 1] + self.cells
            for p in (sources, receivers)
        )

    def matrix(self, m: np.ndarray) -> csc_array:
        """A for squared slowness m (n, n)."""
        padded = np.pad(m, self.cells, mode="edge")
        values = self.laplacian.copy()
        omega = 2 * np.pi * self.frequency
        values[self.diagonal] += omega**2 * padded.ravel()[self.row[self.diagonal]]
        n = padded.size
        return csc_array((values.astype(np.complex64), (self.row, self.column)), shape=(n, n))

    def gradient(self, m: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Data (s, r) and the gradient (n, n) of |F(m) - observed|^2 / 2."""
        matrix = self.matrix(m)
        forward = splu(matrix)
        fields = [forward.solve(self._at(k, 1 / self.spacing**2)) for k in self.sources]
        data = np.stack([u[self.receivers] for u in fields])
        backward = splu(matrix.conj().T.tocsc())
        omega = 2 * np.pi * self.frequency
        gradient = np.zeros(matrix.shape[0])
        for u, residual in zip(fields, data - observed, strict=True):
            adjoint = backward.solve(self._at(self.receivers, residual))
            gradient -= omega**2 * (u * adjoint.conj()).real
        inner = slice(self.cells, self.cells + self.n)
        return data, gradient.reshape(self.grid.padded_shape)[inner, inner]

    def _at(self, nodes: np.ndarray | int, values: np.ndarray | float) -> np.ndarray:
        b = np.zeros(self.grid.padded_shape[0] * self.grid.padded_shape[1], np.complex64)
        b[nodes] = values
        return b
