"""Block elimination along one axis, for a whole batch of models at once, in plain torch.

Taken line by line, A is block tridiagonal. With D_i the block of line i and C_i the coupling of
line i to line i + 1 (both tridiagonal, and C_i^T couples back since A is symmetric),

    X_i = (D_i - C_{i-1}^T X_{i-1} C_{i-1})^-1            lines i = 0, 1, ... in turn,
    z_i = X_i y_i,   y_{i+1} = b_{i+1} - C_i^T z_i        forward,
    u_i = z_i - X_i C_i u_{i+1}                           backward.

The two ends are eliminated at the same time, as one batch of twice the size, towards a middle line
that collects from both. X_i is dense; C_i acts by its bands. There is no pivoting between lines.
Lines run along the shorter axis, n of N
nodes: about n N^2 multiplications a model, nearly all of them in products of dense matrices.

References: Golub & Van Loan 2013, "Matrix computations", section 4.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, reduce
from typing import Literal

import torch
from jaxtyping import Complex
from torch import Tensor

from mempost.methods.waves.backends.protocol import Layout, SparseBackend
from mempost.methods.waves.backends.symmetric_inverse import symmetric_inverse


class Batched(SparseBackend):
    """Block elimination in torch: whole batches of models, on any device."""

    type: Literal["batched"] = "batched"

    def analyse(self, layout: Layout, dtype: torch.dtype) -> BatchedAnalysis:
        return _analyse(layout)


@lru_cache(maxsize=8)
def _analyse(layout: Layout) -> BatchedAnalysis:
    return BatchedAnalysis(layout)


class BatchedAnalysis:
    """Which bands couple nodes of one line, and which lead to the next and the previous line."""

    def __init__(self, layout: Layout) -> None:
        self.transposed = layout.shape[1] > layout.shape[0]
        offsets = [(j, i) if self.transposed else (i, j) for i, j in layout.offsets]
        lines = max(layout.shape)
        self.empty_line = lines % 2 == 0
        self.half = lines // 2
        self.within = [(o[1], k) for k, o in enumerate(offsets) if o[0] == 0]
        self.ahead = [(o[1], k) for k, o in enumerate(offsets) if o[0] == 1]
        self.behind = [(o[1], k) for k, o in enumerate(offsets) if o[0] == -1]

    def to_lines(self, u: Tensor, fill: float = 0.0) -> Tensor:
        """(..., N_x, N_z) as an odd number of lines (..., line, node)."""
        u = u.mT if self.transposed else u
        if self.empty_line:
            u = torch.nn.functional.pad(u, (0, 0, 0, 1), value=fill)
        return u

    def from_lines(self, u: Tensor) -> Tensor:
        """The inverse of ``to_lines``."""
        u = u[..., :-1, :] if self.empty_line else u
        return u.mT if self.transposed else u

    def factor(self, bands: Complex[Tensor, "batch o N_x N_z"]) -> BatchedFactors:
        return BatchedFactors(self, bands.detach())


class BatchedFactors:
    """The inverses X_i from both ends, and that of the middle line."""

    def __init__(
        self, analysis: BatchedAnalysis, bands: Complex[Tensor, "batch o N_x N_z"]
    ) -> None:
        self.analysis = analysis
        half, within = analysis.half, analysis.within
        lines = analysis.to_lines(bands)
        if analysis.empty_line:
            lines[:, dict(within)[0], -1] = 1
        self.couplings = {
            offset: _both_ends(lines[:, ahead], lines[:, behind], half)
            for (offset, ahead), (_, behind) in zip(analysis.ahead, analysis.behind, strict=True)
        }
        diagonals = {o: _both_ends(lines[:, k], lines[:, k], half + 1) for o, k in within}
        self.inverses: list[Complex[Tensor, "two_batch n n"]] = []
        schur = _dense({o: d[:, 0] for o, d in diagonals.items()})
        for i in range(half):
            x = symmetric_inverse(schur)
            self.inverses.append(x)
            schur = _dense({o: d[:, i + 1] for o, d in diagonals.items()})
            schur -= self._sandwich(x, i)
        middle = _dense({o: d[: len(bands), half] for o, d in diagonals.items()})
        self.middle = symmetric_inverse(sum(schur.chunk(2), -middle))

    def solve(self, b: Complex[Tensor, "batch k N_x N_z"]) -> Complex[Tensor, "batch k N_x N_z"]:
        half = self.analysis.half
        lines = self.analysis.to_lines(b.detach()).permute(0, 2, 3, 1)  # batch, line, node, k
        y = torch.cat([lines[:, : half + 1], lines[:, half:].flip(1)])
        carried = torch.zeros_like(y[:, 0])
        z = []
        for i, x in enumerate(self.inverses):
            z.append(x @ (y[:, i] - carried))
            carried = self._back(z[-1], i)
        middle = self.middle @ (lines[:, half] - sum(carried.chunk(2)))
        u = torch.cat([middle, middle])
        solved = [u]
        for i in reversed(range(half)):
            u = z[i] - self.inverses[i] @ self._ahead(u, i)
            solved.append(u)
        first, last = torch.stack(solved, 1).chunk(2)
        whole = torch.cat([first.flip(1), last[:, 1:]], 1)
        return self.analysis.from_lines(whole.permute(0, 3, 1, 2)).contiguous()

    def _ahead(self, u: Tensor, i: int) -> Tensor:
        """C_i u."""
        return _sum(c[:, i, :, None] * _shift(u, o, -2) for o, c in self.couplings.items())

    def _back(self, u: Tensor, i: int) -> Tensor:
        """C_i^T u."""
        return _sum(_shift(c[:, i, :, None] * u, -o, -2) for o, c in self.couplings.items())

    def _sandwich(self, x: Tensor, i: int) -> Tensor:
        """C_i^T X C_i."""
        right = _sum(_shift(x * c[:, i, None, :], -o, -1) for o, c in self.couplings.items())
        return self._back(right, i)


def _both_ends(forward: Tensor, backward: Tensor, count: int) -> Tensor:
    """The first lines of one band and, in reverse order, the last ones of another."""
    return torch.cat([forward[:, :count], backward.flip(1)[:, :count]])


def _dense(diagonals: dict[int, Tensor]) -> Tensor:
    """Matrices (..., n, n) with entries [j, j + o] = diagonals[o][..., j]."""
    parts = [
        torch.diag_embed(d[..., max(0, -o) : d.shape[-1] - max(0, o)], o)
        for o, d in diagonals.items()
    ]
    return _sum(parts)


def _shift(u: Tensor, offset: int, dim: int) -> Tensor:
    """v[j] = u[j + offset] along a dimension, zero beyond its ends."""
    if offset == 0:
        return u
    n = u.shape[dim]
    kept = u.narrow(dim, max(0, offset), n - abs(offset))
    edge = torch.zeros_like(u.narrow(dim, 0, abs(offset)))
    return torch.cat([kept, edge] if offset > 0 else [edge, kept], dim)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, terms)
