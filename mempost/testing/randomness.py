"""Randomness under control: global generators that must not matter, and streams seen by row.

Draws of the shape (TILE, ...) hold one row a sample, those of (k TILE, ...) hold k of them.
`NeighboursChanged` gives some rows as usual and all others from another seed: a sample that depends
on its neighbours changes with them. `RowsPermuted` gives the same rows in another order: samples
have to follow.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mempost.core.streams import TILE, DerivedStream, Stream, Streams
from mempost.testing.comparison import require

T = TypeVar("T")


def twice_under_global_seeds(call: Callable[[], T]) -> tuple[T, T]:
    """Call twice, under different seeds of the generators of torch, NumPy and Python.

    The generators are put back afterwards. That of Python may be drawn from, as type checkers do.

    Raises:
        CheckFailedError: the call drew from the generator of torch or NumPy, or seeded it.
    """
    legacy, python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            first, second = (_watched(call, seed) for seed in (1, 2))
        return first, second
    finally:
        np.random.set_state(legacy)  # noqa: NPY002
        random.setstate(python)


def _watched(call: Callable[[], T], seed: int) -> T:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    before = _snapshot()
    result = call()
    for name, state in _snapshot().items():
        require(state == before[name], f"The global generator of {name} was used or seeded.")
    return result


def _snapshot() -> dict[str, object]:
    legacy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (legacy["key"].tobytes(), legacy["pos"]),
    }


class _PairedStream(DerivedStream):
    """Draws rows in ``keep`` from one stream and the others from a second one."""

    def __init__(self, own: Stream, other: Stream, keep: tuple[int, ...]) -> None:
        super().__init__(own)
        self._other, self._keep = other, list(keep)

    def made(self, draw: Callable[[Stream], Tensor]) -> Tensor:
        own, other = draw(self.own), draw(self._other)
        axis = _sample_axis(own)
        if axis is None:
            return own
        index = _rows(self._keep, own.shape[axis]).to(own.device)
        return other.index_copy(axis, index, own.index_select(axis, index))


class _PermutedStream(DerivedStream):
    """Draws whose rows come in another order."""

    def __init__(self, own: Stream, order: tuple[int, ...]) -> None:
        super().__init__(own)
        self._order = list(order)

    def made(self, draw: Callable[[Stream], Tensor]) -> Tensor:
        own = draw(self.own)
        axis = _sample_axis(own)
        if axis is None:
            return own
        return own.index_select(axis, _rows(self._order, own.shape[axis]).to(own.device))


def _sample_axis(draw: Tensor) -> int | None:
    """The axis that counts the samples of a tile, or a multiple of them, if there is one."""
    exact = (axis for axis, size in enumerate(draw.shape) if size == TILE)
    multiple = (axis for axis, size in enumerate(draw.shape) if size and size % TILE == 0)
    return next(exact, next(multiple, None))


def _rows(samples: list[int], size: int) -> Tensor:
    """Rows of the given samples along an axis that holds size / TILE rows a sample."""
    each = size // TILE
    return (torch.tensor(samples)[:, None] * each + torch.arange(each)).flatten()


@dataclass(frozen=True)
class NeighboursChanged(Streams):
    """The streams of (seed, role), with all rows but ``keep`` from another seed."""

    keep: tuple[int, ...] = ()

    def at(self, tile: int = 0, step: int = 0) -> Stream:
        other = Streams(self.seed + 1, self.role).at(tile, step)
        return _PairedStream(super().at(tile, step), other, self.keep)


@dataclass(frozen=True)
class RowsPermuted(Streams):
    """The streams of (seed, role), with the rows of every tile in the given order."""

    order: tuple[int, ...] = tuple(range(TILE))

    def at(self, tile: int = 0, step: int = 0) -> Stream:
        return _PermutedStream(super().at(tile, step), self.order)
