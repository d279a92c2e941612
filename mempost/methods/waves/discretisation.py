"""The discrete operator at one frequency, A(w) = K + (M W + W M)/2, as a function of w.

    w = omega^2 s_x s_z m,      A_ij = K_ij + M_ij (w_i + w_j)/2,
    (dA/dw . v) u = (M (v u) + v M u)/2.

K, M and the factor omega^2 s_x s_z do not depend on the model; they are built once for each grid,
stencil and frequency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mempost.core.tables import table
from mempost.methods.waves.bands import CROSS, Offset, shifted
from mempost.methods.waves.grid import Grid
from mempost.methods.waves.layers import Layers
from mempost.methods.waves.pml import node_positions, stretch
from mempost.methods.waves.stencils import STENCILS, Stencil, StencilName

NEAR = 4.0
"""k r of the distance below which the error of data falls no further."""


@dataclass(frozen=True)
class Discretisation:
    """Grid, stencil and absorbing layers at one frequency.

    Attributes:
        grid: nodes and layers.
        name: of the stencil.
        frequency: Hz.
        sigma_max: damping at the rim of the layers, 1/s.
    """

    grid: Grid
    name: StencilName
    frequency: float
    sigma_max: float

    @property
    def stencil(self) -> Stencil:
        return STENCILS[self.name]

    @property
    def layers(self) -> Layers:
        """Absorbing layers."""
        cells = max(cells for axis in self.grid.axes for cells in axis.layer)
        return Layers(cells, self.grid.spacing, self.sigma_max, self.stencil.order)

    @property
    def omega(self) -> float:
        """Angular frequency, 1/s."""
        return 2 * math.pi * self.frequency

    @property
    def offsets(self) -> tuple[Offset, ...]:
        """Nodes that A couples."""
        return self.stencil.offsets

    def density(self, m: Float[Tensor, "batch n_x n_z"]) -> Complex[Tensor, "batch N_x N_z"]:
        """w of squared slowness m."""
        return self.density_factor(m) * self.grid.pad(m)

    def density_factor(self, like: Tensor) -> Complex[Tensor, "N_x N_z"]:
        """omega^2 s_x s_z, complex in the precision of ``like``."""
        return _density_factor(self, dtype=like.dtype.to_complex(), device=like.device)

    def squared_slowness(
        self, w: Complex[Tensor, "batch N_x N_z"]
    ) -> Float[Tensor, "batch n_x n_z"]:
        """m in the model, where s = 1."""
        return self.grid.interior(w).real / self.omega**2

    def matrix(self, w: Complex[Tensor, "batch N_x N_z"]) -> Complex[Tensor, "batch o N_x N_z"]:
        """Bands of A."""
        stiffness = _stiffness(self, dtype=w.dtype, device=w.device)
        mass = _half_mass(self, dtype=w.dtype, device=w.device)
        neighbours = torch.stack(shifted(w, self.offsets), -3)
        return stiffness + mass * (w.unsqueeze(-3) + neighbours)

    def mass(self, u: Complex[Tensor, "... N_x N_z"]) -> Complex[Tensor, "... N_x N_z"]:
        """M u."""
        c = self.stencil.coupling
        if c == 0:
            return u
        diagonal = _mass_diagonal(self, dtype=u.dtype, device=u.device)
        west, south, _, north, east = shifted(u, CROSS)
        return torch.add(diagonal * u, west + south + north + east, alpha=c)

    def reading(self, w: Complex[Tensor, "..."]) -> Complex[Tensor, "..."]:
        """The diagonal of E = I - e h^2 W."""
        e = self.stencil.reading
        return torch.ones_like(w) if e == 0 else 1 - e * self.grid.spacing**2 * w

    def expected_error(self, slowness: float, distance: float) -> float:
        """Relative error of data after ``distance`` km, k distance c (k h)^p, along the axes.

        Amplitudes are off, too, which shows where a wave has travelled less than `NEAR`.
        """
        k = self.omega * slowness
        error = self.stencil.dispersion * (k * self.grid.spacing) ** self.stencil.order
        return max(k * distance, NEAR) * error

    def points_per_wavelength(self, slowness: float) -> float:
        """Nodes in a wavelength."""
        return 1 / (slowness * self.frequency * self.grid.spacing)


@table
def _density_factor(d: Discretisation) -> np.ndarray:
    s_x, s_z = (
        stretch(axis, d.frequency, d.sigma_max, node_positions(axis)) for axis in d.grid.axes
    )
    return d.omega**2 * np.multiply.outer(s_x, s_z)


@table
def _stiffness(d: Discretisation) -> np.ndarray:
    return d.stencil.stiffness(d.grid, d.frequency, d.sigma_max)


@table
def _mass_diagonal(d: Discretisation) -> np.ndarray:
    return d.stencil.mass_diagonal(d.grid)


@table
def _half_mass(d: Discretisation) -> np.ndarray:
    """M/2 on the bands of A."""
    bands = np.zeros((len(d.offsets), *d.grid.padded_shape))
    for offset in CROSS:
        bands[d.offsets.index(offset)] = d.stencil.coupling / 2
    bands[d.offsets.index((0, 0))] = d.stencil.mass_diagonal(d.grid) / 2
    return bands
