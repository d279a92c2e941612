"""Stencils: how K and M of the discrete operator A(w) = K + (M W + W M)/2 are formed.

Both stencils discretise the symmetric form of the Helmholtz equation under coordinate stretching,

    d/dx((s_z/s_x) du/dx) + d/dz((s_x/s_z) du/dz) + omega^2 m s_x s_z u = s_x s_z f,

with W = diag(w), w = omega^2 m s_x s_z. A is complex-symmetric: one factorisation serves fields,
adjoints and tangents, and sources and receivers may be exchanged.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from mempost.methods.waves.bands import Offset
from mempost.methods.waves.grid import Grid
from mempost.methods.waves.stencils.compact import Compact
from mempost.methods.waves.stencils.five_point import FivePoint

StencilName = Literal["compact", "five_point"]


class Stencil(Protocol):
    """What a stencil offers.

    Attributes:
        offsets: nodes that A couples.
        coupling: entries of M between the four neighbours of a node.
        reading: e in E = I - e h^2 W, which multiplies sources and fields before they are read.
        order: p, the order of the discretisation.
        dispersion: c in the relative error c (k h)^p of the wavenumber along the axes.
    """

    offsets: tuple[Offset, ...]
    coupling: float
    reading: float
    order: int
    dispersion: float

    def stiffness(self, grid: Grid, frequency: float, sigma_max: float) -> np.ndarray:
        """Bands of K, (o, N_x, N_z), 1/km^2."""
        ...

    def mass_diagonal(self, grid: Grid) -> np.ndarray:
        """Diagonal of M, (N_x, N_z)."""
        ...


STENCILS: dict[StencilName, Stencil] = {"compact": Compact(), "five_point": FivePoint()}
