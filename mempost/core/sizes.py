"""Sizes: what fits into the memory of this machine, and bytes in words."""

from __future__ import annotations

import os

from mempost.core.errors import PluginError


def memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_memory(needed: int, what: str) -> None:
    """Refuse what cannot be held, before it is made.

    Raises:
        PluginError: ``what`` needs more bytes than the machine has.
    """
    if needed > memory():
        raise PluginError(
            f"{what} take {readable(needed)}; this machine has {readable(memory())} of memory"
        )


def readable(size: int) -> str:
    """A number of bytes for people."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if amount >= 1000:
            amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
