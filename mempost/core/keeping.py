"""Keeping what is dear: tensors remembered by the hash of what they were made from.

Jacobians that do not depend on the data, or a training run half done, are worth more than the disk
they take. A plugin asks `load` by a name made with `content_hash` and, if nothing is there, makes
the tensors and gives them to `save`. Where they are kept is not the plugin's concern: whoever runs
it opens a `keeping` block with a `Shelf`. Without one nothing is kept, and everything is made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel
from torch import Tensor

from mempost.core import identity
from mempost.core.arrays import FrozenArray

if TYPE_CHECKING:
    from mempost.core.prior import State


class Shelf(Protocol):
    """A place for named states; names consist of letters, digits, ``_`` and ``-``."""

    def load(self, name: str) -> State | None:
        """What was saved under a name, or None if it is absent or damaged."""

    def holds(self, name: str) -> bool:
        """Whether something was saved under a name (whole or damaged: `load` tells)."""

    def save(self, name: str, state: State) -> None:
        """Keep a state, whole or not at all, in place of what had the name before."""

    def drop(self, name: str) -> None:
        """Forget a name, if it is there."""

    def mark(self, name: str) -> None:
        """Note that a name is used by whom the shelf was opened for."""


_shelf: ContextVar[Shelf | None] = ContextVar("shelf", default=None)
_watched: ContextVar[tuple[set[str], ...]] = ContextVar("watched", default=())


@contextmanager
def keeping(shelf: Shelf) -> Iterator[None]:
    """Keep on ``shelf`` what plugins save inside the block."""
    token = _shelf.set(shelf)
    try:
        yield
    finally:
        _shelf.reset(token)


def load(name: str) -> State | None:
    """What was saved under a name; None if there is nothing, or no shelf."""
    shelf = _shelf.get()
    found = None if shelf is None else shelf.load(name)
    if found is not None:
        mark([name])
    return found


def holds(name: str) -> bool:
    """Whether something was saved under a name."""
    shelf = _shelf.get()
    return shelf is not None and shelf.holds(name)


def save(name: str, state: State) -> None:
    """Keep a state under a name, if there is a shelf."""
    shelf = _shelf.get()
    if shelf is not None:
        shelf.save(name, state)
        mark([name])


def drop(name: str) -> None:
    """Forget what was saved under a name."""
    shelf = _shelf.get()
    if shelf is not None:
        shelf.drop(name)


def mark(names: Iterable[str]) -> None:
    """Note that what is on the shelf under some names is used, by way of something made of it."""
    shelf = _shelf.get()
    for name in names:
        for watched in _watched.get():
            watched.add(name)
        if shelf is not None:
            shelf.mark(name)


@contextmanager
def watching() -> Iterator[set[str]]:
    """The names that are used inside the block."""
    names: set[str] = set()
    token = _watched.set((*_watched.get(), names))
    try:
        yield names
    finally:
        _watched.reset(token)


def content_hash(*parts: Any, code: str | None = None) -> str:
    """A hash of recipes (with their code and files), tensors (values, shape, dtype) and names.

    Of tuples and dataclasses the items count, of arrays the values.

    Args:
        parts: what the kept thing is made from.
        code: the module that makes it, where that is not the module of a recipe in ``parts``.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_content(part))
        digest.update(b"\0")
    if code is not None:
        digest.update(f"code {identity.digest(None, [], [code])}".encode())
    return digest.hexdigest()[:32]


def _content(part: Any) -> bytes:
    """What stands for a part in a hash."""
    if isinstance(part, FrozenArray):
        part = part.tensor()
    if isinstance(part, Tensor):
        x = part.detach().cpu().contiguous()
        return f"tensor {x.dtype} {tuple(x.shape)}".encode() + x.numpy().tobytes()
    if isinstance(part, BaseModel):
        dumped = part.model_dump(mode="json", by_alias=True)
        return f"recipe {identity.digest(dumped, part)}".encode()
    if is_dataclass(part):
        part = tuple(getattr(part, field.name) for field in fields(part))
    if isinstance(part, tuple):
        return b"(" + b",".join(map(_content, part)) + b")"
    return f"{type(part).__name__} {part}".encode()
