"""Random streams: a function of (seed, role, tile, step) and of nothing else.

A Philox generator (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2,
3") is keyed by (seed, role) and its counter starts at (tile, step). There is no state to carry:
a worker that computes tile 7 alone draws what a single process would have drawn, and a resumed
run draws what the uninterrupted one would have. Samples are computed in tiles of fixed size, the
last one padded, since BLAS sums in another order for another batch size.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mempost.core.sizes import require_memory

TILE = 32
"""Samples in a tile: the unit of work, of chunks and of streams."""

Role = Literal["data", "truth", "noise", "training", "sampling", "metric"]


class Stream:
    """Random numbers of one (seed, role, tile, step); draws advance it."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def normal(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Standard normal numbers; the same float64 draws are rounded to ``dtype``."""
        return torch.from_numpy(self.generator.standard_normal(shape)).to(device, dtype)

    def uniform(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Uniform numbers on [0, 1), also where ``dtype`` would round up to 1."""
        u = torch.from_numpy(self.generator.random(shape)).to(device, dtype)
        return u.clamp(max=1 - torch.finfo(dtype).eps / 2)

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """Integers 0 .. high - 1 (int64)."""
        return torch.from_numpy(self.generator.integers(high, size=shape))

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts of these rates, in the dtype of the rates."""
        counts = self.generator.poisson(rate.detach().cpu().double().numpy())
        return torch.as_tensor(counts).to(rate)

    def permutation(self, n: int) -> Tensor:
        """A random order of 0 .. n - 1 (int64)."""
        return torch.from_numpy(self.generator.permutation(n))

    def categorical(self, weights: Tensor, n: int) -> Tensor:
        """``n`` indices drawn with probabilities proportional to ``weights`` (inverse CDF)."""
        cdf = torch.cumsum(weights.detach().to("cpu", torch.float64), 0)
        u = self.uniform((n,)) * cdf[-1]
        last = int(torch.nonzero(weights.detach().cpu() > 0)[-1])
        return torch.searchsorted(cdf, u, right=True).clamp(max=last)


class DerivedStream(Stream, ABC):
    """A stream that makes each draw of those of another one; authors override ``made``."""

    def __init__(self, own: Stream) -> None:
        super().__init__(own.generator)
        self.own = own

    @abstractmethod
    def made(self, draw: Callable[[Stream], Tensor]) -> Tensor:
        """A draw, from ``draw(stream)`` of any streams."""

    def normal(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        return self.made(lambda stream: stream.normal(shape, dtype, device))

    def uniform(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        return self.made(lambda stream: stream.uniform(shape, dtype, device))

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        return self.made(lambda stream: stream.integers(high, shape))

    def poisson(self, rate: Tensor) -> Tensor:
        return self.made(lambda stream: stream.poisson(rate))


class RepeatedRows(DerivedStream):
    """A stream whose draws of ``size`` rows repeat the first ``rows`` of them, in turn.

    For a tile of which only the first rows are asked for: the others become copies of these.
    """

    def __init__(self, own: Stream, rows: int, size: int) -> None:
        super().__init__(own)
        self.size, self.index = size, torch.arange(size) % rows

    def made(self, draw: Callable[[Stream], Tensor]) -> Tensor:
        drawn = draw(self.own)
        return drawn[self.index.to(drawn.device)] if len(drawn) == self.size else drawn


@dataclass(frozen=True)
class Streams:
    """All streams of one (seed, role)."""

    seed: int
    role: Role

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise ValueError(f"role is {self.role!r}; allowed are {', '.join(get_args(Role))}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed are integers from 0")

    def branch(self, index: int) -> Streams:
        """Independent streams of the same role, for data set ``index`` of many."""
        digest = hashlib.sha256(f"mempost/branch/{self.seed}/{index}".encode()).digest()
        return Streams(int.from_bytes(digest[:7], "big"), self.role)

    def at(self, tile: int = 0, step: int = 0) -> Stream:
        """The stream of a tile and a step."""
        digest = hashlib.sha256(f"mempost/{self.role}/{self.seed}".encode()).digest()
        key = np.frombuffer(digest[:16], dtype=np.uint64)
        counter = np.array([0, 0, step, tile], dtype=np.uint64)
        return Stream(np.random.Generator(np.random.Philox(key=key, counter=counter)))


def n_tiles(n: int) -> int:
    """Number of tiles that hold ``n`` samples."""
    return -(-n // TILE)


def draw_tiled(n: int, streams: Streams, draw: Callable[[Stream], Tensor], step: int = 0) -> Tensor:
    """Concatenate ``draw(stream)``, of `TILE` rows each, to ``n`` rows.

    The first rows do not depend on ``n``; another ``step`` gives independent ones.

    Raises:
        PluginError: they do not fit into the memory of the machine.
    """
    if n < 1:
        raise ValueError(f"number of samples is {n}; allowed are integers from 1")
    first = draw(streams.at(tile=0, step=step))
    require_memory(first.nbytes * n_tiles(n), f"{n} samples of {first[0].numel()} numbers")
    rest = [draw(streams.at(tile=k, step=step)) for k in range(1, n_tiles(n))]
    return torch.cat([first, *rest])[:n]
