"""Measurements that are watched or altered, for the checks of figures."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mempost.core.measured import Array
from mempost.core.result import Result


class Recorded(dict[str, Array]):
    """Measurements that write down which of them are read."""

    def __init__(self, measured: Mapping[str, Array], read: set[str]) -> None:
        super().__init__(measured)
        self._read = read

    def __getitem__(self, name: str) -> Array:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dictionary; what is not there is not read."""
        return self[name] if name in self else default  # noqa: SIM401


def with_measured(result: Result, measured: dict[str, Array]) -> Result:
    """The same result with other measurements."""
    own = copy.copy(result)
    own.measured = measured
    return own


def altered(measured: Mapping[str, Array], name: str) -> dict[str, Array]:
    """The same measurements but for one.

    Real numbers are stretched and moved; integers may be places in an array, and change places.
    """
    found = dict(measured)
    if name in found:
        array = found[name]
        values = array.values[..., ::-1] if array.ndim else array.values + 1
        found[name] = array.copy(data=1.37 * array.values + 0.11 if _is_real(array) else values)
    return found


def is_altered(before: Mapping[str, Array], after: Mapping[str, Array], name: str) -> bool:
    """Whether it is there and another one: places that were all the same stay so."""
    return name in before and not before[name].equals(after[name])


def _is_real(array: Array) -> bool:
    return array.dtype.kind == "f"
