"""The field of a source that is a few cells away, where a grid cannot hold it.

Near its source the field is log(r)/(2 pi) plus what is smooth. Polynomials through the nodes around
a source or a receiver do not follow the logarithm: at a distance of one cell data are off by a
fifth, at four cells by nothing that shows. The logarithm is the same for every medium and
frequency, and so is what the grid makes of it,

    g(r_s, r_r) = R_r G R_s^T,      h^2 K G = 1 on the infinite lattice,  G -> log|n|/(2 pi),

K being the stencil without layers, R the interpolation. Adding log(r/h)/(2 pi) - g to the data
leaves the error of the smooth rest, of the order of (k h)^2 times what was there before. It is a
constant, so derivatives stay what they are. Free surfaces take part as images of negative sign;
layers, which begin with no damping, need not.

Reference: Duffin 1953, "Discrete potential theory" (the growth of the lattice's G).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.sparse import csr_array, diags_array, kron
from scipy.sparse.linalg import spsolve

from mempost.core.arrays import FrozenArray
from mempost.core.memory import remember
from mempost.core.tables import table
from mempost.methods.waves.grid import Axis, Grid
from mempost.methods.waves.interpolation import lagrange
from mempost.methods.waves.stencils import STENCILS, StencilName

REACH = 8.0
"""Distance along either axis up to which data are corrected, in cells."""
RADIUS = 32
"""The lattice is solved on a square of this half-width, with the logarithm around it."""


@dataclass(frozen=True)
class Pairs:
    """Sources (s, 2) and receivers (r, 2) in km on a grid with a stencil."""

    grid: Grid
    stencil: StencilName
    sources: FrozenArray
    receivers: FrozenArray


@dataclass(frozen=True, eq=False)
class _Along:
    """Positions (n,) along one axis, in cells from the first model node, and their interpolation.

    ``first`` (n,) is the first of the nodes that ``weight`` (n, k) belongs to.
    """

    position: np.ndarray
    first: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, axis: Axis, position: np.ndarray) -> _Along:
        return cls(position, *lagrange(axis, position))

    def at(self, rows: np.ndarray) -> _Along:
        return _Along(self.position[rows], self.first[rows], self.weight[rows])

    def mirrored(self, axis: Axis, edge: int) -> _Along:
        """Beyond the low (0) or the high end (1) of the axis."""
        last = self.first + self.weight.shape[1] - 1
        mirror = 2 * edge * axis.n - 1
        return _Along(
            mirror - self.position, mirror + 2 * axis.layer[0] - last, self.weight[:, ::-1]
        )

    def differences(self, source: _Along) -> tuple[np.ndarray, np.ndarray]:
        """Distances in nodes (n, c) from one source, and their weights."""
        k = self.weight.shape[1]
        products = np.zeros((len(self.weight), 2 * k - 1))
        for i, w in enumerate(source.weight[0]):
            products[:, k - 1 - i : 2 * k - 1 - i] += w * self.weight
        return (self.first - source.first)[:, None] + np.arange(1 - k, k), products


@table
def near_field(pairs: Pairs) -> np.ndarray:
    """What has to be added to data (s, r), zero beyond `REACH`."""
    g, axes = _lattice(pairs.stencil), pairs.grid.axes
    h = pairs.grid.spacing
    sources, receivers = (p.numpy() / h - 0.5 for p in (pairs.sources, pairs.receivers))
    readers = [_Along.of(axis, receivers[:, k]) for k, axis in enumerate(axes)]
    added = np.zeros((len(sources), len(receivers)))
    for row, source in zip(added, sources, strict=True):
        images = [_images(axis, _Along.of(axis, source[k : k + 1])) for k, axis in enumerate(axes)]
        for (x, sign_x), (z, sign_z) in product(*images):
            gaps = receivers - np.concatenate([x.position, z.position])
            near = np.flatnonzero((np.abs(gaps) <= REACH).all(1))
            logarithm = np.log(np.hypot(*gaps[near].T)) / (2 * math.pi)
            along = zip(readers, (x, z), strict=True)
            read = _read(g, *(r.at(near).differences(s) for r, s in along))
            row[near] += sign_x * sign_z * (logarithm - read)
    return added


def _images(axis: Axis, source: _Along) -> list[tuple[_Along, int]]:
    """The source and, with negative signs, its images in free surfaces."""
    mirrored = [(source.mirrored(axis, edge), -1) for edge in (0, 1) if axis.free[edge]]
    return [(source, 1), *mirrored]


def _read(
    g: np.ndarray, x: tuple[np.ndarray, np.ndarray], z: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """R_r G R_s^T (n,) from distances in nodes along both axes and their weights."""
    (node_x, weight_x), (node_z, weight_z) = x, z
    values = g[node_x[:, :, None] + RADIUS, node_z[:, None, :] + RADIUS]
    return np.einsum("ni,nj,nij->n", weight_x, weight_z, values)


def _lattice(stencil: StencilName) -> np.ndarray:
    """G at distances -RADIUS to RADIUS along both axes."""
    return remember(lambda: _solved(stencil), "lattice", stencil)


def _solved(stencil: StencilName) -> np.ndarray:
    entry = STENCILS[stencil]
    alone = Grid((Axis(3, (0, 0), (False, False)), Axis(3, (0, 0), (False, False))), 1.0)
    middle = entry.stiffness(alone, 1.0, 0.0)[:, 1, 1].real
    n = 2 * RADIUS + 1
    shift = {o: diags_array(np.ones(n - abs(o)), offsets=o) for o in (-1, 0, 1)}
    k = sum(
        (c * kron(shift[i], shift[j]) for c, (i, j) in zip(middle, entry.offsets, strict=True)),
        csr_array((n * n, n * n)),
    )
    x, z = (axis.ravel() for axis in np.indices((n, n)) - RADIUS)
    inside = (np.abs(x) < RADIUS) & (np.abs(z) < RADIUS)
    g = np.log(np.maximum(np.hypot(x, z), 1.0)) / (2 * math.pi)
    source = ((x == 0) & (z == 0)).astype(float)
    rows = csr_array(k)[inside]
    right = source[inside] - rows[:, ~inside] @ g[~inside]
    g[inside] = spsolve(rows[:, inside].tocsc(), right)
    return g.reshape(n, n)
