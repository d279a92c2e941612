"""Where sources and receivers are: positions (x, z) in km, listed or equally spaced on a line."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema

from mempost.core.array_file import ArrayInFile
from mempost.core.arrays import FrozenArray, Matrix
from mempost.core.plugin import Recipe


class Line(Recipe):
    """Equally spaced positions from ``start`` to ``stop``, both included (km)."""

    start: tuple[float, float]
    stop: tuple[float, float]
    number: int = Field(ge=1, le=100_000)

    def positions(self) -> FrozenArray:
        """Positions (number, 2)."""
        return FrozenArray(np.linspace(self.start, self.stop, self.number))


def _line(value: Any) -> Any:
    if not isinstance(value, dict) or "type" in value:  # rows, or a file that holds them
        return value
    return Line.model_validate(value).positions()


_ROWS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
Positions = Annotated[
    Matrix,
    BeforeValidator(_line),
    WithJsonSchema({"anyOf": [_ROWS, Line.model_json_schema(), ArrayInFile.model_json_schema()]}),
]
"""Positions (n, 2) in km: rows, ``{start: [x, z], stop: [x, z], number: n}``, or a file of rows."""


def line(start: tuple[float, float], stop: tuple[float, float], number: int) -> FrozenArray:
    """Equally spaced positions (number, 2)."""
    return Line(start=start, stop=stop, number=number).positions()


@lru_cache(maxsize=32)
def rms_distance(sources: FrozenArray, receivers: FrozenArray) -> float:
    """Root mean square distance between sources and receivers, km."""
    gaps = sources.numpy()[:, None] - receivers.numpy()
    return float(np.sqrt(np.square(gaps).sum(-1).mean()))
