"""What the numbers of calibration say in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from mempost.core.measured import Array
from mempost.core.result import Result

_ERRORS = 4.0
"""Standard errors from which a shift or a width is named."""


def by_point(results: Sequence[Result], variable: str) -> Iterator[tuple[str, list[Result]]]:
    """Results that have a variable, by point, and the point as the beginning of a sentence."""
    measured = [result for result in results if variable in result.measured]
    for _, group in groupby(measured, key=lambda result: tuple(map(repr, result.point.items()))):
        found = list(group)
        point = found[0].point.items()
        where = ", ".join(f"{path.rpartition('.')[2]} = {value}" for path, value in point)
        yield (f"{where}: " if where else ""), found


def words(measured: Mapping[str, Array], significance: float) -> str:
    """What ``sbc`` has measured says of the draws."""
    p, folded_p, n, shift, width = (
        float(measured[f"sbc_{name}"]) for name in ("p", "folded_p", "truths", "shift", "width")
    )
    shown = f"p = {number(p)} for ranks, {number(folded_p)} for folded ranks, {n:.0f} truths"
    if min(p, folded_p) >= significance:
        return f"is calibrated as far as this test sees ({shown})."
    found = []
    if abs(shift) * math.sqrt(n) > _ERRORS and p < significance:
        found.append(f"shifted, truths lie {abs(shift):.2f} sd {'above' if shift > 0 else 'below'}")
    if abs(width - 1) * math.sqrt(2 * n) > _ERRORS and folded_p < significance:
        found.append(f"too {'narrow' if width < 1 else 'wide'}, {width:.2f} of the right width")
    if not found:
        found.append("wrong in another way than a shift or a width of single coordinates")
    return f"draws are {'; '.join(found)} ({shown})."


def number(p: float) -> str:
    """A p-value with two digits."""
    return f"{p:.2g}" if p >= 1e-300 else "0"
