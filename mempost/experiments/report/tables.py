"""Chosen columns of a study's table as Markdown or LaTeX, numbers beside their intervals.

A number with ``NAME_low`` and ``NAME_high`` in the same row is written with them in brackets,
``0.42 [0.35, 0.49]``. Digits follow the interval: two of its half-width, but no more than four of
the number; four without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def markdown(rows: Sequence[Row], columns: Sequence[str], names: Mapping[str, str] = {}) -> str:
    """A Markdown table.

    Args:
        rows: as in ``table.csv``, by column.
        columns: which of them, in order; ``_low`` and ``_high`` come along by themselves.
        names: headers that differ from the columns' names.
    """

    def escaped(text: str) -> str:
        return " ".join(text.splitlines()).replace("\\", "\\\\").replace("|", "\\|")

    header = [escaped(names.get(column, column)) for column in columns]
    rule = ["---:" if _is_number(rows, column) else "---" for column in columns]
    lines = [header, rule, *([escaped(cell(row, column)) for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(rows: Sequence[Row], columns: Sequence[str], names: Mapping[str, str] = {}) -> str:
    r"""A LaTeX ``tabular`` with the rules of booktabs; arguments as for `markdown`.

    Headers that differ from the columns' names are taken as LaTeX, everything else is escaped.
    """

    def line(cells: Sequence[str]) -> str:
        return f"  {' & '.join(cells)} \\\\\n"

    given = {column: name for column, name in names.items() if name != column}
    header = [given.get(column, column.translate(_LATEX)) for column in columns]
    align = "".join("r" if _is_number(rows, column) else "l" for column in columns)
    body = "".join(
        line([cell(row, column).translate(_LATEX) for column in columns]) for row in rows
    )
    return (
        f"\\begin{{tabular}}{{{align}}}\n  \\toprule\n{line(header)}  \\midrule\n{body}"
        "  \\bottomrule\n\\end{tabular}\n"
    )


def cell(row: Row, column: str) -> str:
    """The text of one cell; empty where the row has no such number."""
    value = row.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    if not (isinstance(low, float) and isinstance(high, float)):
        return f"{value:.4g}"
    places = _places((high - low) / 2, value)
    return f"{_fixed(value, places)} [{_fixed(low, places)}, {_fixed(high, places)}]"


def _places(half_width: float, value: float) -> int:
    """Decimal places: two digits of an interval's half-width, at most four of the value."""

    def places(size: float, digits: int) -> int | None:
        known = math.isfinite(size) and size > 0
        return max(0, digits - 1 - math.floor(math.log10(size))) if known else None

    of_interval = places(half_width, 2)
    of_value = places(abs(value), 3 if of_interval is None else 4)
    found = [n for n in (of_interval, of_value) if n is not None]
    return min([*found, 12]) if found else 2


def _fixed(value: float, places: int) -> str:
    shown = f"{value:.{places}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def _is_number(rows: Sequence[Row], column: str) -> bool:
    values = [row[column] for row in rows if row.get(column) is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)
