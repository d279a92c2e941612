"""SuperLU, as SciPy ships it: supernodal LU on one core.

The matrix is symmetric and its diagonal is large enough to pivot on, so the fill-reducing order
of A + A^T (multiple minimum degree) is kept, and pivots leave the diagonal only when they are
1000 times smaller than another entry of their column. The order is found once and then built into
the pattern; SuperLU offers no further reuse of its analysis.

References: Demmel, Eisenstat, Gilbert, Li & Liu 1999, "A supernodal approach to sparse partial
pivoting".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import SuperLU as Decomposition
from scipy.sparse.linalg import splu
from torch import Tensor

from mempost.methods.waves.backends.protocol import Layout, SparseBackend

_PIVOTING = {
    "diag_pivot_thresh": 1e-3,
    "panel_size": 4,
    "options": {"SymmetricMode": True},
}


class SuperLU(SparseBackend):
    """SciPy's sparse LU factorisation, one core."""

    type: Literal["superlu"] = "superlu"

    def analyse(self, layout: Layout, dtype: torch.dtype) -> SuperLUAnalysis:
        return _analyse(layout)


@lru_cache(maxsize=8)
def _analyse(layout: Layout) -> SuperLUAnalysis:
    return SuperLUAnalysis(layout)


class SuperLUAnalysis:
    """A fill-reducing order, and the pattern in that order, column by column."""

    def __init__(self, layout: Layout) -> None:
        row, column, position = layout.entries()
        n = layout.shape[0] * layout.shape[1]
        dominant = np.where(row == column, 10.0, 1.0)
        pattern = coo_array((dominant, (row, column)), shape=(n, n)).tocsc()
        self.new = splu(pattern, permc_spec="MMD_AT_PLUS_A", **_PIVOTING).perm_c
        self.old = np.argsort(self.new)
        row, column = self.new[row], self.new[column]
        order = np.lexsort((row, column))
        self.position = torch.from_numpy(position[order])
        self.rows = row[order].astype(np.int32)
        self.starts = np.searchsorted(column[order], np.arange(n + 1)).astype(np.int32)
        self.n = n

    def factor(self, bands: Complex[Tensor, "batch o N_x N_z"]) -> SuperLUFactors:
        values = bands.detach().cpu().flatten(1)[:, self.position].numpy()
        shape = (self.n, self.n)
        return SuperLUFactors(
            self,
            [
                splu(
                    csc_array((data, self.rows, self.starts), shape=shape),
                    permc_spec="NATURAL",
                    **_PIVOTING,
                )
                for data in values
            ],
        )


class SuperLUFactors:
    """One decomposition for each matrix of a batch."""

    def __init__(self, analysis: SuperLUAnalysis, decompositions: list[Decomposition]) -> None:
        self.analysis = analysis
        self.decompositions = decompositions

    def solve(self, b: Complex[Tensor, "batch k N_x N_z"]) -> Complex[Tensor, "batch k N_x N_z"]:
        old, new = self.analysis.old, self.analysis.new
        rows = b.detach().cpu().flatten(2).numpy()
        solved = np.stack(
            [
                lu.solve(np.ascontiguousarray(r[:, old]).T).T[:, new]
                for lu, r in zip(self.decompositions, rows, strict=True)
            ]
        )
        return torch.from_numpy(solved).to(b.device).reshape(b.shape)
