"""The grid: nodes at the centres of square cells, and the layers around them.

A model of n_x x n_z cells of width h (km) covers [0, n_x h] x [0, n_z h]; axis 0 is x, axis 1 is z
(depth, downwards), and node (i, j) lies at ((i + 1/2) h, (j + 1/2) h). On a side with a perfectly
matched layer the grid goes on for a number of cells, whose slowness is that of the nearest node
(``pad``; ``fold`` is its adjoint). On a side with a free surface it ends, and the pressure
vanishes on the edge itself, half a cell outside the last node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from mempost.core.tables import table

Side = Literal["left", "right", "top", "bottom"]
SIDES: tuple[tuple[Side, Side], tuple[Side, Side]] = (("left", "right"), ("top", "bottom"))
"""The sides at the low and the high end of each axis."""


@dataclass(frozen=True)
class Axis:
    """One axis: ``n`` model nodes, and at either end cells of a layer or a free surface.

    Attributes:
        n: number of nodes of the model.
        layer: numbers of cells of the absorbing layers at the low and the high end.
        free: whether the ends are free surfaces.
    """

    n: int
    layer: tuple[int, int]
    free: tuple[bool, bool]

    @property
    def padded(self) -> int:
        """Number of nodes with the layers."""
        return self.n + sum(self.layer)


@dataclass(frozen=True)
class Grid:
    """Two axes with the same spacing h (km)."""

    axes: tuple[Axis, Axis]
    spacing: float

    @classmethod
    def build(
        cls,
        shape: tuple[int, int],
        spacing: float,
        cells: int,
        free_surface: tuple[Side, ...],
    ) -> Grid:
        """A grid with layers of ``cells`` cells, except at free surfaces."""

        def axis(n: int, sides: tuple[Side, Side]) -> Axis:
            low, high = (side in free_surface for side in sides)
            return Axis(n, (0 if low else cells, 0 if high else cells), (low, high))

        x, z = (axis(n, sides) for n, sides in zip(shape, SIDES, strict=True))
        return cls((x, z), spacing)

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes of the model, (n_x, n_z)."""
        return self.axes[0].n, self.axes[1].n

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Nodes with the layers, (N_x, N_z)."""
        return self.axes[0].padded, self.axes[1].padded

    @property
    def extent(self) -> tuple[float, float]:
        """Size of the model (km)."""
        return self.axes[0].n * self.spacing, self.axes[1].n * self.spacing

    def pad(self, m: Shaped[Tensor, "... n_x n_z"]) -> Shaped[Tensor, "... N_x N_z"]:
        """Continue a model into the layers with the values at its edge."""
        for dim, axis in zip((-2, -1), self.axes, strict=True):
            m = m.index_select(dim, _nearest_node(axis, dtype=torch.int64, device=m.device))
        return m

    def fold(self, g: Shaped[Tensor, "... N_x N_z"]) -> Shaped[Tensor, "... n_x n_z"]:
        """The adjoint of ``pad``: layers are added to the edge that they copy."""
        for dim, axis in zip((-2, -1), self.axes, strict=True):
            low, inside, high = g.split([axis.layer[0], axis.n, axis.layer[1]], dim)
            inside = inside.clone()
            inside.select(dim, 0).add_(low.sum(dim))
            inside.select(dim, -1).add_(high.sum(dim))
            g = inside
        return g

    def interior(self, u: Shaped[Tensor, "... N_x N_z"]) -> Shaped[Tensor, "... n_x n_z"]:
        """The part of a field that lies in the model."""
        for dim, axis in zip((-2, -1), self.axes, strict=True):
            u = u.narrow(dim, axis.layer[0], axis.n)
        return u


@table
def _nearest_node(axis: Axis) -> np.ndarray:
    """For every padded node the model node whose slowness it takes."""
    return np.clip(np.arange(axis.padded) - axis.layer[0], 0, axis.n - 1)
