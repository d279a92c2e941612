"""Tables of numbers in text: separated by commas, semicolons, tabs or blanks; # starts a comment.

The separator is what the text holds: a semicolon, else a tab, else a comma, else blanks. Beside the
first two a comma is a decimal sign. Where the comma is the only sign between digits, a header or an
index column looks like data, or data like a header, the reader asks.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from mempost.core.errors import SpecError
from mempost.core.numbers import FLOAT, INTEGER

_PAIR = re.compile(r"\s*[-+]?\d+,\d+\s*")


def read_table(
    path: Path, header: bool | None, index_column: bool | None, decimal: str | None
) -> np.ndarray:
    """The numbers of a text file, (lines, columns).

    Args:
        path: the file, in UTF-8.
        header: whether the first line names the columns.
        index_column: whether the first column counts the lines and is left out.
        decimal: the decimal sign.

    Raises:
        SpecError: None was given for one of them, and the file leaves it open; or there is no
            header where one should be.
        ValueError: a field is no number, or lines differ in length.
    """
    text = path.read_text(encoding="utf-8-sig")
    lines = [line for line in (raw.partition("#")[0] for raw in text.splitlines()) if line.strip()]
    separator, decimal = _signs(path, lines[header or 0 :], decimal)
    fields = _fields(lines[0], separator) if lines else []
    _check_header(path, lines, fields, separator, header)
    body = "\n".join(lines[header or 0 :])
    if decimal == ",":
        body = body.replace(",", ".")
    try:
        table = (
            np.loadtxt(io.StringIO(body), delimiter=separator, ndmin=2, quotechar='"')
            if body
            else np.empty((0, 0))
        )
    except ValueError as error:
        hint = "" if header else " (if the first line names the columns, set header: true)"
        comma = " (if commas are decimal signs, set decimal: ',')" if separator == "," else ""
        raise ValueError(f"{error}{hint}{comma}") from None
    named = bool(header) and fields[0] == ""
    return table[:, 1:] if _has_index(path, table, named, index_column) else table


def _signs(path: Path, lines: list[str], decimal: str | None) -> tuple[str | None, str]:
    """Separator of columns (None for blanks) and decimal sign."""
    text = "\n".join(lines)
    strong = next((sign for sign in ";\t" if sign in text), None)
    if strong is None and "," in text and decimal is None and all(map(_PAIR.fullmatch, lines)):
        raise SpecError(
            f"{path}: each line is like {lines[0].strip()!r}, two whole numbers or one with a "
            "decimal comma; say which by decimal: '.' (two) or decimal: ',' (one)"
        )
    if strong is not None and decimal is None and "," in text:
        if "." in text:
            raise SpecError(f"{path}: holds commas and points; say which is decimal")
        return strong, ","
    if strong is None and decimal != "," and "," in text:
        return ",", "."
    return strong, decimal or "."


def _fields(line: str, separator: str | None) -> list[str]:
    return [field.strip().strip('"') for field in line.split(separator)]


def _check_header(
    path: Path, lines: list[str], fields: list[str], separator: str | None, header: bool | None
) -> None:
    """The first line names columns if and only if ``header``; a line 0, 1, 2, ... may be either."""
    if not fields or header is False:
        return
    counts = fields[fields[0] == "" :]
    counts_columns = counts == [str(i) for i in range(len(counts))] and len(counts) > 1
    numbers = all(FLOAT.fullmatch(field.replace(",", ".")) for field in fields)
    if header and numbers and not counts_columns:
        raise SpecError(
            f"{path}: header: true, but the first line holds numbers ({lines[0].strip()[:40]}), "
            "which would be lost; remove the line if it is none of the data, else set header: false"
        )
    if header is not None or not counts_columns:
        return
    rest = (_fields(line, separator) for line in lines[1:])
    if len(counts) > 2 or not all(INTEGER.fullmatch(field) for row in rest for field in row):
        raise SpecError(
            f"{path}: the first line counts 0 to {len(counts) - 1}; say whether it names the "
            "columns by header: true or header: false"
        )


def _has_index(path: Path, table: np.ndarray, named: bool, index_column: bool | None) -> bool:
    """Whether the first column is an index; a column 0, 1, 2, ... or 1, 2, 3, ... may be one."""
    n, columns = table.shape
    if index_column is not None or columns < 2:
        return bool(index_column) and columns > 1
    counts = any((table[:, 0] == np.arange(n) + start).all() for start in (0, 1))
    if counts and named:
        return True
    if counts and n > 2:
        raise SpecError(
            f"{path}: the first column counts the lines; say whether to leave it out by "
            "index_column: true or index_column: false"
        )
    return False
