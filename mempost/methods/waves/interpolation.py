"""Reading fields between nodes: tensor products of one-dimensional Lagrange interpolation.

Along each axis a position is interpolated from the 8 nodes around it, with weights
prod_{l != k} (x - x_l)/(x_k - x_l). The error is O(h^8), below that of either stencil; on a node
the weights are exactly 0 and 1. The nodes may lie in an absorbing layer. Beyond a free surface the
field is continued as an odd function of the distance. A point source is the transpose of reading,
divided by the area of a cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.memory import remember
from mempost.core.tables import table
from mempost.methods.waves.grid import Axis, Grid

NODES = 8
"""Interpolation nodes along each axis (fewer on grids that have fewer)."""


@dataclass(frozen=True)
class Points:
    """Positions (n, 2) in km on a grid; see `Reading`."""

    grid: Grid
    positions: FrozenArray


@table
def _columns(points: Points) -> np.ndarray:
    """Flat indices of the nodes that the interpolation reads, ascending."""
    return _interpolation(points)[0]


@table
def _weights(points: Points) -> np.ndarray:
    """Weights (n, c) with which positions read those nodes."""
    return _interpolation(points)[1]


@table
def _reduction(points: Points, part: int) -> np.ndarray:
    """C (n, q) or Q (q, c) of the weights R = C Q, by ``part``."""
    reduced = _reduced(points)
    assert reduced is not None
    return reduced[part]


@dataclass(frozen=True, eq=False)
class Reading:
    """R, with which fields are read at positions, and its transpose.

    Attributes:
        shape: (N_x, N_z).
        columns: nodes that are read, (c,).
        weights: (n, c), complex.
    """

    shape: tuple[int, int]
    columns: Tensor
    weights: Tensor

    @classmethod
    def at(cls, points: Points, like: Tensor) -> Reading:
        """The interpolation for complex fields in the precision of ``like``."""
        return cls(
            points.grid.padded_shape,
            _columns(points, dtype=torch.int64, device=like.device),
            _weights(points, dtype=like.dtype.to_complex(), device=like.device),
        )

    @classmethod
    def reduced(cls, points: Points, like: Tensor) -> tuple[Reading, Complex[Tensor, "n q"] | None]:
        """Q and C of R = C Q, with fewer rows in Q than there are positions; R and None if not.

        A line of positions finer than the grid reads no more than the line of nodes holds, and
        positions all over the grid no more than its nodes.
        """
        if _reduced(points) is None:
            return cls.at(points, like), None
        dtype = like.dtype.to_complex()
        columns = _columns(points, dtype=torch.int64, device=like.device)
        mixing, q = (_reduction(points, k, dtype=dtype, device=like.device) for k in (0, 1))
        return cls(points.grid.padded_shape, columns, q), mixing

    def parts(self, size: int) -> list[Reading]:
        """The positions in groups of at most ``size``."""
        groups = self.weights.split(size)
        return [Reading(self.shape, self.columns, weights) for weights in groups]

    def read(
        self, u: Complex[Tensor, "... s N_x N_z"], factor: Tensor
    ) -> Complex[Tensor, "... s n"]:
        """R E u, with the diagonal E = ``factor`` (..., N_x, N_z)."""
        read = u.flatten(-2).index_select(-1, self.columns)
        diagonal = factor.flatten(-2).index_select(-1, self.columns)
        return (read * diagonal.unsqueeze(-2)) @ self.weights.mT

    def spread(self, factor: Tensor) -> Complex[Tensor, "... n N_x N_z"]:
        """E R^T, one row a position."""
        diagonal = factor.flatten(-2).index_select(-1, self.columns)
        values = self.weights * diagonal.unsqueeze(-2)
        rows = values.new_zeros(*values.shape[:-1], math.prod(self.shape))
        return rows.index_copy(-1, self.columns, values).unflatten(-1, self.shape)


def _interpolation(points: Points) -> tuple[np.ndarray, np.ndarray]:
    return remember(lambda: _nodes_and_weights(points), "interpolation", points)


def _nodes_and_weights(points: Points) -> tuple[np.ndarray, np.ndarray]:
    grid, positions = points.grid, points.positions.numpy()
    (node_x, weight_x), (node_z, weight_z) = (
        _folded(axis, *lagrange(axis, positions[:, k] / grid.spacing - 0.5))
        for k, axis in enumerate(grid.axes)
    )
    node = node_x[:, :, None] * grid.padded_shape[1] + node_z[:, None, :]
    weight = weight_x[:, :, None] * weight_z[:, None, :]
    row, *_ = used = np.nonzero(weight)
    nodes, column = np.unique(node[used], return_inverse=True)
    matrix = np.zeros((len(positions), len(nodes)))
    np.add.at(matrix, (row, column), weight[used])
    return nodes, matrix


def _reduced(points: Points) -> tuple[np.ndarray, np.ndarray] | None:
    return remember(lambda: _mixing_and_rows(points), "reduced interpolation", points)


def _mixing_and_rows(points: Points) -> tuple[np.ndarray, np.ndarray] | None:
    """C and Q, or None where every choice of Q known here has as many rows as there are positions.

    Positions on a line along an axis have weights that are products of one along it and one across,
    and the latter is common to them. So a row of Q for each node along the line is enough.
    """
    nodes, weights = _interpolation(points)
    along = np.unravel_index(nodes, points.grid.padded_shape)
    lines = [_lines(points, weights, along[axis], axis) for axis in (0, 1)]
    best = min(lines, key=lambda blocks: sum(len(rows) for _, _, rows in blocks))
    q = np.concatenate([rows for _, _, rows in best])
    if len(q) < min(weights.shape):
        c = np.zeros((len(weights), len(q)))
        first = 0
        for members, mixing, rows in best:
            c[members, first : first + len(rows)] = mixing
            first += len(rows)
        return c, q
    return (weights, np.eye(len(nodes))) if len(nodes) < len(weights) else None


def _lines(
    points: Points, weights: np.ndarray, along: np.ndarray, axis: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each line along an axis its positions, C and Q."""
    across = np.round(points.positions.numpy()[:, 1 - axis] / points.grid.spacing, 9)
    order = np.argsort(across, kind="stable")
    lines = []
    for members in np.split(order, np.flatnonzero(np.diff(across[order])) + 1):
        own = weights[members]
        nodes = np.unique(along[(own != 0).any(0)]) if len(members) > 1 else along
        if len(nodes) < len(members):
            parts = [own * (along == node) for node in nodes]
            norms = [np.linalg.norm(part, axis=1) for part in parts]
            rows = np.stack([w[n.argmax()] / n.max() for w, n in zip(parts, norms, strict=True)])
            lines.append((members, own @ rows.T, rows))
        else:
            lines.append((members, np.eye(len(members)), own))
    return lines


def lagrange(axis: Axis, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First node (n,) and weights (n, k) of consecutive nodes that positions are interpolated from.

    Nodes are counted with the layers; beyond a free surface there are some that do not exist.

    Args:
        axis: model nodes and layers.
        position: in cells from the first model node, (n,).
    """
    count = min(NODES, axis.padded)
    x = position + axis.layer[0]
    nearest = np.round(x)
    x = np.where(np.abs(x - nearest) < 1e-9, nearest, x)
    first = np.floor(x).astype(int) - (count // 2 - 1)
    low = -count // 2 if axis.free[0] else 0
    high = axis.padded + (count // 2 if axis.free[1] else 0)
    first = np.clip(first, low, high - count)
    k = np.arange(count)
    distance = x[:, None] - first[:, None] - k
    weight = np.stack([np.prod(distance[:, k != j], 1) / np.prod(j - k[k != j]) for j in k], axis=1)
    return first, weight


def _folded(axis: Axis, first: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, k) that exist, and weights: beyond a free surface the field is odd."""
    node = first[:, None] + np.arange(weight.shape[1])
    mirrored = (node < 0) | (node >= axis.padded)
    node = np.where(node < 0, -1 - node, node)
    node = np.where(node >= axis.padded, 2 * axis.padded - 1 - node, node)
    return node, np.where(mirrored, -weight, weight)
