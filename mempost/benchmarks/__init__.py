"""Benchmarks: a part of mempost against the obvious alternative, measured in one run.

Each module here holds ``run(quick) -> rows``; a row is a mapping of names to numbers and words.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from mempost.core.errors import SpecError, nearest

Rows = list[dict[str, Any]]


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def benchmark(name: str) -> Callable[[bool], Rows]:
    """The function ``run(quick)`` of a benchmark.

    Raises:
        SpecError: there is no such benchmark.
    """
    if name not in names():
        raise SpecError(
            f"no benchmark is named {name!r}; allowed are {', '.join(names())}."
            + nearest(name, names())
        )
    return importlib.import_module(f"{__name__}.{name}").run


def show(rows: Rows) -> str:
    """Rows as an aligned table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_cell(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
