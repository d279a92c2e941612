"""What is said about the accuracy of numbers, kept beside them.

A `mempost.core.errors.MempostWarning` notes itself where it is made, whether or not it is shown: a
terminal shows a text once, and the runs that it concerns are many. Whoever wants to know opens a
`collecting` block. What is remembered (`mempost.core.memory`) repeats what was said in the making.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_open: ContextVar[tuple[dict[str, None], ...]] = ContextVar("cautions", default=())


def note(texts: Iterable[str]) -> None:
    """Add texts to every open block."""
    for text in texts:
        for said in _open.get():
            said[text] = None


@contextmanager
def collecting() -> Iterator[dict[str, None]]:
    """What is said inside the block, each text once: ``with collecting() as said: ...``."""
    said: dict[str, None] = {}
    token = _open.set((*_open.get(), said))
    try:
        yield said
    finally:
        _open.reset(token)
