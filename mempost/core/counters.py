"""Counts of expensive operations: denoiser calls, PDE solves, factorisations.

Plugins call `tally`; whoever wants to know opens a `counting` block. Counts belong to the block
and not to the plugin, so recipes stay frozen and nested blocks all see the work done inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_open: ContextVar[tuple[Counter[str], ...]] = ContextVar("open_counters", default=())


def tally(name: str, amount: int = 1) -> None:
    """Add ``amount`` to ``name`` in every open counting block."""
    for counter in _open.get():
        counter[name] += amount


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count what happens inside the block: ``with counting() as counts: ...``."""
    counter: Counter[str] = Counter()
    token = _open.set((*_open.get(), counter))
    try:
        yield counter
    finally:
        _open.reset(token)
