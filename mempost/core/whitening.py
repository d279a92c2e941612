"""Coordinates in which Gaussian noise is white.

Noise n of m data falls into independent blocks, n_B = L_B e_B with e_B ~ N(0, I) and L_B lower
triangular; data that stand in no block are missing. With gamma the smallest singular value of all
L_B, the standard deviation of the most accurate combination of data,

    W r = gamma (L_B^-1 r_B)_B

has white noise of standard deviation gamma. No direction is stretched, |W| = 1, and a datum whose
noise grows without bound fades into a missing one: a mean in the place of gamma would not do that.

Blocks are found as connected components of a covariance's non-zero entries, so that a sparse one
costs what its largest block does. Of complex data the covariance is E[n n^H], and n is circular.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.memory import remember

_RANK = 1e-13
"""Diagonal entries of a factor below this part of the largest count as zero."""


class Blocks(NamedTuple):
    """Blocks of b data each: their numbers (g, b), and their factors L_B / gamma (g, b, b)."""

    data: FrozenArray
    factor: FrozenArray


@dataclass(frozen=True)
class Whitening:
    """W of ``size`` data, missing ones included; equal by content.

    Attributes:
        size: m.
        blocks: by size of the block; data in none of them are missing.
    """

    size: int
    blocks: tuple[Blocks, ...]

    @property
    def index(self) -> np.ndarray:
        """The data that are not missing, in the order of the white coordinates."""
        return np.concatenate([index.numpy().ravel() for index, _ in self.blocks]).astype(int)

    @property
    def is_complex(self) -> bool:
        """Whether a covariance is complex."""
        return any(np.iscomplexobj(factor.numpy()) for _, factor in self.blocks)

    @property
    def log_determinant(self) -> float:
        """log |det W|, of a complex matrix for complex data."""
        diagonals = [np.diagonal(L.numpy(), axis1=1, axis2=2) for _, L in self.blocks]
        return -sum(float(np.log(np.abs(entries)).sum()) for entries in diagonals)

    def __call__(self, r: Tensor) -> Tensor:
        """W r of residuals (..., m): (..., k) of the k data that are not missing."""
        parts = []
        for index, factor in self._tensors(r):
            x = r[..., index]
            if index.shape[1] == 1:
                parts.append((x / factor[..., 0]).flatten(-2))
                continue
            columns = x.reshape(-1, *index.shape).movedim(0, -1)
            white = torch.linalg.solve_triangular(factor, columns, upper=False)
            parts.append(white.movedim(-1, 0).reshape(*r.shape[:-1], -1))
        return torch.cat(parts, -1)

    def colour(self, e: Tensor) -> Tensor:
        """Noise (..., m) with W n = e, taken at the data that are there; missing data are NaN."""
        noise = torch.full_like(e, torch.nan)
        for index, factor in self._tensors(e):
            noise[..., index] = (factor @ e[..., index][..., None])[..., 0]
        return noise

    def stds(self, like: Tensor) -> Tensor:
        """Standard deviation of every datum (m,) in units of gamma; NaN where missing."""
        stds = like.real.new_full((self.size,), torch.nan)
        for index, factor in self._tensors(like):
            stds[index] = factor.abs().square().sum(-1).sqrt()
        return stds

    def without(self, missing: np.ndarray) -> tuple[float, Whitening]:
        """Factor of gamma, and the whitening, where more data (m,) are missing."""
        parts: list[_Part] = []
        for frozen, factor in self.blocks:
            index, L = frozen.numpy().astype(int), factor.numpy()
            kept = ~missing[index]
            whole = kept.all(1)
            parts.append((index[whole], L[whole]))
            for i, rows, keep in zip(index[~whole], L[~whole], kept[~whole], strict=True):
                if keep.any():
                    parts.append((i[keep][None], _triangular(rows[keep])[None]))
        return _normalised(self.size, parts)

    def _tensors(self, like: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Indices and factors where ``like`` is, in its precision."""
        return remember(
            lambda: [
                (i.tensor(torch.long, like.device), L.tensor(like.dtype, like.device))
                for i, L in self.blocks
            ],
            "whitening",
            self,
            like.dtype,
            like.device,
        )


_Part = tuple[np.ndarray, np.ndarray]
"""Indices (g, b) and factors (g, b, b)."""


def of_stds(stds: np.ndarray) -> tuple[float, Whitening]:
    """gamma and W of independent data with these standard deviations (m,)."""
    return _normalised(len(stds), [(np.arange(len(stds))[:, None], stds[:, None, None])])


def of_covariance(C: Any) -> tuple[float, Whitening]:
    """gamma and W of a covariance (m, m), a NumPy array or a sparse one.

    Raises:
        ValueError: it is not positive definite.
    """
    from scipy.sparse import csr_array  # here, so that listing plugins stays fast

    sparse = csr_array(C)
    singles, blocks = _components(sparse)
    variances = sparse.diagonal().real[singles]
    if (variances <= 0).any():
        raise ValueError("is not positive definite: a variance is not above 0")
    parts: list[_Part] = [(singles[:, None], np.sqrt(variances)[:, None, None])]
    for index in blocks:
        block = sparse[index][:, index].toarray()
        try:
            parts.append((index[None], np.linalg.cholesky(block)[None]))
        except np.linalg.LinAlgError:
            least = float(np.linalg.eigvalsh(block)[0])
            raise ValueError(f"is not positive definite: an eigenvalue is {least:.3g}") from None
    return _normalised(sparse.shape[0], parts)


def of_factor(L: np.ndarray) -> tuple[float, Whitening]:
    """gamma and W of the covariance L L^H, for L (m, k), which is not formed.

    Raises:
        ValueError: L L^H is singular.
    """
    from scipy.sparse import csr_array

    pattern = csr_array(np.abs(L))
    singles, blocks = _components(pattern @ pattern.T)
    parts = [(index[None], _triangular(L[index])[None]) for index in [*singles[:, None], *blocks]]
    return _normalised(len(L), parts)


def _components(pattern: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Data that depend on no other, and the groups of those that depend on one another."""
    from scipy.sparse.csgraph import connected_components

    _, labels = connected_components(pattern != 0, directed=False)
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    singles = np.array([g[0] for g in groups if len(g) == 1], dtype=int)
    return np.sort(singles), [g for g in groups if len(g) > 1]


def _triangular(rows: np.ndarray) -> np.ndarray:
    """The lower triangular factor of A A^H for A (b, k), by the QR decomposition of A^H."""
    factor = np.asarray(np.linalg.qr(rows.conj().T, mode="r")).conj().T
    diagonal = np.diagonal(factor)
    least = float(np.abs(diagonal).min(initial=math.inf))
    if factor.shape[1] < len(rows) or least <= _RANK * float(np.abs(diagonal).max(initial=0.0)):
        raise ValueError("gives a singular covariance: its rows depend on one another")
    return factor * (np.abs(diagonal) / diagonal)


def _normalised(size: int, parts: Iterable[_Part]) -> tuple[float, Whitening]:
    """gamma and the whitening of factors, blocks of one size together."""
    by_size: dict[int, list[_Part]] = {}
    for index, factor in parts:
        if len(index):
            by_size.setdefault(index.shape[1], []).append((index, factor))
    if not by_size:
        raise ValueError("leaves no datum: all of them are missing")
    joined = [tuple(map(np.concatenate, zip(*by_size[b], strict=True))) for b in sorted(by_size)]
    gamma = min(
        float(np.abs(L).min() if L.shape[1] == 1 else np.linalg.svd(L, compute_uv=False).min())
        for _, L in joined
    )
    return gamma, Whitening(
        size, tuple(Blocks(FrozenArray(i), FrozenArray(L / gamma)) for i, L in joined)
    )
