"""Where sources and receivers are: positions (x, z) in km, listed or equally spaced on a line.

They lie inside the model, not on a free surface, where the pressure is 0 whatever the medium, and
not on each other, where it is infinite.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema
from scipy.spatial import KDTree

from mempost.core.array_file import ArrayInFile
from mempost.core.arrays import FrozenArray, Matrix
from mempost.core.plugin import Recipe
from mempost.methods.waves.grid import SIDES, Grid

TOUCHING = 1e-6
"""Positions nearer than this to each other or to a free surface lie on it, in cells."""


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


def check_positions(grid: Grid, sources: FrozenArray, receivers: FrozenArray) -> None:
    """Refuse positions at which there are no data.

    Raises:
        ValueError: naming the first position that is not a pair, lies outside the model or on a
            free surface, or the first source that has a receiver in the same place.
    """
    extent, close = np.array(grid.extent), TOUCHING * grid.spacing
    for name, positions in (("sources", sources.numpy()), ("receivers", receivers.numpy())):
        if positions.shape[1] != 2:
            raise ValueError(f"{name} should be pairs (x, z), found shape {positions.shape}")
        outside = ((positions < 0) | (positions > extent)).any(1)
        if outside.any():
            k = int(outside.argmax())
            raise ValueError(
                f"{name}[{k}] at {_place(positions[k])} lies outside the model, which covers "
                f"[0, {extent[0]:g}] x [0, {extent[1]:g}] km"
            )
        for dim, (axis, sides) in enumerate(zip(grid.axes, SIDES, strict=True)):
            for free, side, edge in zip(axis.free, sides, (0.0, extent[dim]), strict=True):
                on = np.abs(positions[:, dim] - edge) <= close
                if free and on.any():
                    k = int(on.argmax())
                    raise ValueError(
                        f"{name}[{k}] at {_place(positions[k])} lies on the free surface {side!r}, "
                        "where the pressure is 0 for every model; give its true depth below the "
                        f"surface, such as half a cell ({grid.spacing / 2:g} km), or take "
                        f"{side!r} out of free_surface"
                    )
    distance, nearest = KDTree(receivers.numpy()).query(sources.numpy())
    if (distance <= close).any():
        k = int((distance <= close).argmax())
        raise ValueError(
            f"sources[{k}] and receivers[{nearest[k]}] are both at {_place(sources.numpy()[k])}, "
            "where the pressure of a point source is infinite; move one of them by the radius of "
            "the real source, or leave it out"
        )


def _place(position: np.ndarray) -> str:
    return f"({position[0]:g}, {position[1]:g}) km"
