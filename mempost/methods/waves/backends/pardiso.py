"""MKL PARDISO: multithreaded LDL^T of complex-symmetric matrices, with the analysis reused.

``pip install 'mempost[mkl]'`` brings Intel's runtime library (x86-64), which is called directly.
Order and symbolic factorisation are found once for each grid and stencil; a model costs the
numeric phase only. One analysis serves up to `SLOTS` factorisations that are alive at the same
time; beyond that another one is made. The slot of a factorisation that is no longer used goes to
the next one, with its memory.

References: Schenk & Gaertner 2004, "Solving unsymmetric sparse systems of linear equations with
PARDISO".
"""

from __future__ import annotations

import threading
import weakref
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from mempost.methods.waves.backends.mkl import library, pardiso
from mempost.methods.waves.backends.protocol import Layout, SparseBackend

SLOTS = 32
_NOTHING = np.zeros((1, 1))
_PARAMETERS = {0: 1, 1: 2, 9: 8, 20: 1, 23: 1, 24: 2, 34: 1}
"""Own parameters, nested dissection, pivots (perturbed below 1e-8; 1x1 and 2x2), two-level
scheduling, parallel solves, indices from 0; no scaling, no matching, no refinement."""


class Pardiso(SparseBackend):
    """Intel MKL's PARDISO, on as many cores as torch uses; needs ``mempost[mkl]``."""

    type: Literal["pardiso"] = "pardiso"

    def analyse(self, layout: Layout, dtype: torch.dtype) -> PardisoAnalysis:
        library()
        return _analyse(layout, dtype)


@lru_cache(maxsize=8)
def _analyse(layout: Layout, dtype: torch.dtype) -> PardisoAnalysis:
    return PardisoAnalysis(layout, dtype)


class PardisoAnalysis:
    """The upper triangle's pattern, and the handles that share it."""

    def __init__(self, layout: Layout, dtype: torch.dtype) -> None:
        row, column, position = layout.entries()
        upper = row <= column
        row, column, position = row[upper], column[upper], position[upper]
        order = np.lexsort((column, row))
        n = layout.shape[0] * layout.shape[1]
        self.position = torch.from_numpy(position[order])
        self.pattern = (
            np.searchsorted(row[order], np.arange(n + 1)).astype(np.int64),
            column[order].astype(np.int64),
        )
        self.single = dtype == torch.complex64
        self.handles: list[Handle] = []

    def factor(self, bands: Complex[Tensor, "batch o N_x N_z"]) -> PardisoFactors:
        values = bands.detach().cpu().flatten(1)[:, self.position].numpy()
        return PardisoFactors([self._factor(data) for data in values])

    def _factor(self, values: np.ndarray) -> Factorisation:
        for handle in self.handles:
            if handle.free:
                return Factorisation(handle, values)
        self.handles.append(Handle(self.pattern, values, self.single))
        return Factorisation(self.handles[-1], values)


class Handle:
    """One analysis and its slots."""

    def __init__(
        self, pattern: tuple[np.ndarray, np.ndarray], values: np.ndarray, single: bool
    ) -> None:
        self.pattern = pattern
        self.pointers = np.zeros(64, np.int64)
        self.parameters = np.zeros(64, np.int64)
        for key, value in _PARAMETERS.items():
            self.parameters[key] = value
        self.parameters[27] = single
        self.free = set(range(1, SLOTS + 1))
        self.lock = threading.RLock()
        self.call(11, 1, values)
        release = weakref.finalize(
            self, _release, self.pointers, self.parameters, pattern, values[:1]
        )
        release.atexit = False

    def call(
        self,
        phase: int,
        slot: int,
        values: np.ndarray,
        b: np.ndarray = _NOTHING,
        x: np.ndarray = _NOTHING,
    ) -> None:
        """One call of PARDISO."""
        with self.lock:
            pardiso(phase, self.pointers, self.parameters, self.pattern, SLOTS, slot, values, b, x)


def _release(
    pointers: np.ndarray,
    parameters: np.ndarray,
    pattern: tuple[np.ndarray, np.ndarray],
    values: np.ndarray,
) -> None:
    pardiso(-1, pointers, parameters, pattern, SLOTS, 1, values, _NOTHING, _NOTHING)


class Factorisation:
    """One matrix in one slot of a handle."""

    def __init__(self, handle: Handle, values: np.ndarray) -> None:
        with handle.lock:
            slot = min(handle.free)
            handle.free.remove(slot)
        weakref.finalize(self, handle.free.add, slot).atexit = False
        self.handle, self.slot, self.values = handle, slot, values
        handle.call(22, slot, values)

    def solve(self, b: np.ndarray) -> np.ndarray:
        """Solutions (k, n) for right-hand sides (k, n)."""
        x = np.empty_like(b)
        self.handle.call(33, self.slot, self.values, b, x)
        return x


class PardisoFactors:
    """One factorisation for each matrix of a batch."""

    def __init__(self, factorisations: list[Factorisation]) -> None:
        self.factorisations = factorisations

    def solve(self, b: Complex[Tensor, "batch k N_x N_z"]) -> Complex[Tensor, "batch k N_x N_z"]:
        rows = b.detach().cpu().contiguous().flatten(2).numpy()
        solved = np.stack([f.solve(r) for f, r in zip(self.factorisations, rows, strict=True)])
        return torch.from_numpy(solved).to(b.device).reshape(b.shape)
