"""Remembering what was dear to make, by what it depends on; one budget of bytes for all of it.

    spectrum = remember(lambda: svd(matrix), "svd", operator, noise)

What is made depends on the parts that are named and on nothing else, so 40 data sets under one
operator need one decomposition: their data are no part of it. Parts count by content,

    recipes, numbers, text      by equality
    tensors                     by values, shape, type and device
    other objects               by being the same one, such as a fitted prior

and a tensor that did not change is hashed once. Values that were used longest ago go when the
tensors and arrays in all that is remembered, each counted once, exceed the budget: 2 GiB, or
``MEMPOST_MEMORY`` (in GiB) in the environment. What is larger than the budget is not remembered. A
value must not be changed, nor grow, afterwards: give parts that come one by one names of their own.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from mempost.core import cautions, keeping
from mempost.core.errors import SpecError

T = TypeVar("T")
VARIABLE = "MEMPOST_MEMORY"
DEFAULT = 2.0
"""GiB."""


class _Entry(NamedTuple):
    value: Any
    storages: Mapping[Hashable, int]
    kept: frozenset[str]
    said: tuple[str, ...]


class Memory:
    """Values by key, those used last; ``budget`` in bytes."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._holders: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, make: Callable[[], T], name: str, *parts: Any) -> T:
        """What ``make()`` gives, from now on for the same name and parts.

        Raises:
            TypeError: a part has no hash.
        """
        key = (name, torch.get_num_threads(), *map(_token, parts))
        entry = self._entries.get(key)
        if entry is None:
            with keeping.watching() as kept, cautions.collecting() as said:
                value = make()
            entry = _Entry(value, dict(_storages(value)), frozenset(kept), tuple(said))
            self._insert(key, entry)
        else:
            self._entries.move_to_end(key)
            keeping.mark(entry.kept)
            cautions.note(entry.said)
        return entry.value

    def forget(self) -> None:
        """Forget everything."""
        while self._entries:
            self._drop()

    def _insert(self, key: Hashable, entry: _Entry) -> None:
        if sum(entry.storages.values()) > self.budget or key in self._entries:
            return
        self._entries[key] = entry
        for storage, size in entry.storages.items():
            self.used += 0 if self._holders[storage] else size
            self._holders[storage] += 1
        while self.used > self.budget:
            self._drop()

    def _drop(self) -> None:
        """Forget what was used longest ago."""
        _, entry = self._entries.popitem(last=False)
        for storage, size in entry.storages.items():
            self._holders[storage] -= 1
            if not self._holders[storage]:
                del self._holders[storage]
                self.used -= size


def _budget() -> int:
    text = os.environ.get(VARIABLE, str(DEFAULT))
    try:
        gib = float(text)
    except ValueError:
        gib = -1.0
    if not gib >= 0:
        raise SpecError(f"{VARIABLE} is {text!r}; allowed are numbers of GiB from 0")
    return int(min(gib, 2**20) * 2**30)


@functools.cache
def memory() -> Memory:
    """The memory of this process."""
    return Memory(_budget())


def has_room(size: float) -> bool:
    """Whether values that come one by one, ``size`` bytes in all, leave room for others.

    If they did not, each would push out the next to be asked for: they are better made anew.
    """
    return size <= memory().budget / 2


def remember(make: Callable[[], T], name: str, *parts: Any) -> T:
    """`Memory.remember` of the memory of this process."""
    return memory().remember(make, name, *parts)


# -- what parts count by ------------------------------------------------------------------------


class _ByIdentity:
    """Something known of an object for as long as it lives."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def get(self, item: Any) -> Any:
        reference, known = self._known.get(id(item), (None, None))
        return known if reference is not None and reference() is item else None

    def set(self, item: Any, known: Any) -> None:
        at = id(item)
        self._known[at] = weakref.ref(item, lambda _: self._known.pop(at, None)), known


_hashes, _numbers, _counter = _ByIdentity(), _ByIdentity(), itertools.count()


def _token(part: Any) -> Hashable:
    """What stands for a part in a key."""
    if isinstance(part, Tensor):
        return _tensor_hash(part)
    if isinstance(part, list | tuple):
        return tuple(map(_token, part))
    kind: Any = type(part)
    if kind.__hash__ is object.__hash__ and kind.__weakrefoffset__:
        return identity(part)
    hash(part)
    return kind, part


def identity(item: object) -> Hashable:
    """A number of an object that no other one has, before or after."""
    number = _numbers.get(item)
    if number is None:
        number = next(_counter)
        _numbers.set(item, number)
    return "object", number


def _tensor_hash(x: Tensor) -> Hashable:
    version = None if x.is_inference() else x._version
    known = _hashes.get(x)
    if known is None or version is None or known[0] != version:
        plain = x.detach().cpu().resolve_conj().resolve_neg().contiguous()
        content = plain.view(-1).view(torch.uint8).numpy()
        digest = hashlib.blake2b(content.data, digest_size=16).digest()
        known = version, (digest, x.dtype, tuple(x.shape), x.device)
        _hashes.set(x, known)
    return known[1]


# -- what values take ---------------------------------------------------------------------------


def _storages(value: Any, seen: set[int] | None = None) -> Iterator[tuple[Hashable, int]]:
    """The storages of the tensors and arrays in a value, with their bytes."""
    seen = set() if seen is None else seen
    if isinstance(value, str | int | float | complex | bytes | None) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        yield ("tensor", storage.data_ptr(), value.device), storage.nbytes()
    elif isinstance(value, np.ndarray):
        base = value if value.base is None else value.base
        yield ("array", id(base)), getattr(base, "nbytes", value.nbytes)
    elif isinstance(value, type | FunctionType | MethodType | ModuleType | BaseModel):
        return  # recipes hold no tensors
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _storages(item, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _storages(item, seen)
    elif hasattr(value, "__dict__"):
        for item in vars(value).values():
            yield from _storages(item, seen)
