"""Matrices on a grid that couple a node to its neighbours, stored by bands.

A[o, i, j] is the coupling of node (i, j) to node (i, j) + o, for each offset o of a fixed list.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

Offset = tuple[int, int]
CROSS: tuple[Offset, ...] = ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
"""A node and its four neighbours."""
SQUARE: tuple[Offset, ...] = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))
"""A node and its eight neighbours."""


def outer(offsets: tuple[Offset, ...], x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Bands (o, N_x, N_z) of the Kronecker product of tridiagonal matrices.

    Args:
        offsets: bands to form.
        x: (3, N_x), with x[1 + o, i] the entry (i, i + o).
        z: (3, N_z), likewise.
    """
    return np.stack([np.multiply.outer(x[1 + i], z[1 + j]) for i, j in offsets])


def shifted(
    u: Shaped[Tensor, "... N_x N_z"], offsets: tuple[Offset, ...]
) -> list[Shaped[Tensor, "... N_x N_z"]]:
    """u at the neighbours of every node, zero beyond the grid: v[i, j] = u[(i, j) + o]."""
    n_x, n_z = u.shape[-2:]
    wide = torch.nn.functional.pad(u, (1, 1, 1, 1))
    return [wide[..., 1 + i : 1 + i + n_x, 1 + j : 1 + j + n_z] for i, j in offsets]


def apply(
    bands: Shaped[Tensor, "... o N_x N_z"],
    offsets: tuple[Offset, ...],
    u: Shaped[Tensor, "... N_x N_z"],
) -> Shaped[Tensor, "... N_x N_z"]:
    """A u."""
    return (bands * torch.stack(shifted(u, offsets), -3)).sum(-3)
