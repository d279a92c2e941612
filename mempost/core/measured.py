"""What a metric has measured: variables with named axes, in one frame.

A variable is a number, or an array whose axes have a name and labels: ``spread`` over ``level``,
``mean`` over ``coordinate``. An interval is an axis too, ``bound``, with the labels value, low and
high. One rule makes columns of the table: the name and the label of every axis, joined by ``_``,
numbers as ``{:g}``; the label ``value`` adds nothing.

    spread (level)               spread_0.6, spread_0.4, ...
    rate (bound)                 rate, rate_low, rate_high
    coverage (level, bound)      coverage_0.5, coverage_0.5_low, coverage_0.5_high, ...

Of a long axis some labels go to the table and the others do not; variables that only pictures need
stay out of it. Names are made here and taken apart nowhere: who wants a number asks for a variable
and a label.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.prior import State

Label = float | str
Values = Any
"""A number, a tensor, a NumPy array or nested lists of numbers."""
Variable = Values | tuple[str | tuple[str, ...], Values]
"""A number, or names of axes and an array."""
Array = xr.DataArray

BOUND = "bound"
BOUNDS = ("value", "low", "high")
_TABLE = "in_table"
"""Attribute: of a variable whether, of an axis which places of it, go to the table."""


class Measured(Mapping[str, Array]):
    """Variables by name, as xarray's data arrays; empty where a metric does not apply.

    Args:
        variables: numbers; or pairs of axes (a name, or several) and an array of that shape.
        axes: labels by axis, numbers or strings; 0, 1, ... of an axis that is not named here.
        columns: of an axis, the labels that go to the table; all of them if not named here.
        unlisted: variables that do not go to the table.

    Raises:
        PluginError: a shape does not fit its axes, values are no real numbers, labels repeat or
            are not finite.
    """

    def __init__(
        self,
        variables: Mapping[str, Variable] | None = None,
        axes: Mapping[str, Sequence[Label]] | None = None,
        *,
        columns: Mapping[str, Collection[Label]] | None = None,
        unlisted: Collection[str] = (),
    ) -> None:
        labels = {BOUND: BOUNDS, **{axis: _plain(given) for axis, given in (axes or {}).items()}}
        found = {name: _variable(name, v, labels) for name, v in (variables or {}).items()}
        sizes: dict[str, int] = {}
        for name, (dims, values) in found.items():
            for axis, size in zip(dims, values.shape, strict=True):
                if sizes.setdefault(axis, size) != size:
                    raise PluginError(
                        f"measured {name!r} has {size} values along {axis!r}, "
                        f"another variable has {sizes[axis]}"
                    )
        coordinates = {axis: list(labels.get(axis, range(n))) for axis, n in sizes.items()}
        dataset = xr.Dataset(found, coordinates)
        for axis, listed in (columns or {}).items():
            if axis in sizes:
                places = [i for i, label in enumerate(coordinates[axis]) if label in listed]
                dataset[axis].attrs[_TABLE] = places
        for name in unlisted:
            if name in found:
                dataset[name].attrs[_TABLE] = False
        self.dataset = dataset

    def __getitem__(self, name: str) -> Array:
        if name not in self.dataset.data_vars:
            raise KeyError(name)
        return self.dataset[name]

    def __iter__(self) -> Iterator[str]:
        return (str(name) for name in self.dataset.data_vars)

    def __len__(self) -> int:
        return len(self.dataset.data_vars)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Measured) and self.dataset.identical(other.dataset)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Measured({', '.join(self)})"

    @cached_property
    def columns(self) -> dict[str, float]:
        """The numbers of the table, by column.

        Raises:
            PluginError: two variables give the same column.
        """
        columns: dict[str, float] = {}
        for name, array in self.items():
            for column, value in _columns(name, array):
                if column in columns:
                    raise PluginError(f"two measured variables give the column {column!r}")
                columns[column] = value
        return columns

    def state(self) -> State:
        """Tensors and plain values that `restored` makes a frame of."""
        variables = {
            name: {"axes": list(map(str, array.dims)), _TABLE: array.attrs.get(_TABLE, True)}
            for name, array in self.items()
        }
        axes = {
            str(axis): {"labels": c.values.tolist(), _TABLE: c.attrs.get(_TABLE)}
            for axis, c in self.dataset.coords.items()
        }
        tensors = {name: torch.from_numpy(np.array(a.values)) for name, a in self.items()}
        return State(tensors, {"variables": variables, "axes": axes})

    @classmethod
    def restored(cls, state: State) -> Measured:
        """The inverse of `state`."""
        variables, axes = state.values["variables"], state.values["axes"]
        return cls(
            {name: (tuple(v["axes"]), state.tensors[name]) for name, v in variables.items()},
            {axis: c["labels"] for axis, c in axes.items()},
            columns={
                axis: [c["labels"][i] for i in c[_TABLE]]
                for axis, c in axes.items()
                if c[_TABLE] is not None
            },
            unlisted=[name for name, v in variables.items() if not v[_TABLE]],
        )


def interval(value: Values, low: Values, high: Values) -> Variable:
    """A number with the ends of its interval, as a variable."""
    return BOUND, [float(value), float(low), float(high)]


def bounds(array: Array) -> tuple[float, float, float]:
    """A number and the ends of its interval; NaN for the ends where it has none."""
    if BOUND not in array.dims:
        return float(array), float("nan"), float("nan")
    value, low, high = (float(array.sel({BOUND: label})) for label in BOUNDS)
    return value, low, high


def _variable(
    name: str, variable: Variable, labels: Mapping[str, Sequence[Label]]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Axes and values; every axis as long as its labels."""
    axes, values = variable if isinstance(variable, tuple) else ((), variable)
    axes = (axes,) if isinstance(axes, str) else tuple(axes)
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise PluginError(f"measured {name!r} are {array.dtype} values; real numbers are allowed")
    if array.ndim != len(axes):
        raise PluginError(
            f"measured {name!r} has shape {array.shape} and {len(axes)} axes ({', '.join(axes)})"
        )
    for axis, size in zip(axes, array.shape, strict=True):
        given = labels.get(axis, range(size))
        if len(given) != size:
            raise PluginError(
                f"measured {name!r} has {size} values along {axis!r}, which has {len(given)} labels"
            )
        if any(isinstance(label, float) and not math.isfinite(label) for label in given):
            raise PluginError(f"labels of the axis {axis!r} are not finite: {given}")
        if len(set(given)) < size:
            raise PluginError(f"labels of the axis {axis!r} repeat: {', '.join(map(str, given))}")
    return axes, array


def _plain(labels: Iterable[Any]) -> list[Label]:
    """Labels as numbers and strings of Python."""
    return [label.item() if hasattr(label, "item") else label for label in labels]


def _columns(name: str, array: Array) -> Iterator[tuple[str, float]]:
    if not array.attrs.get(_TABLE, True):
        return
    axes = [array.coords[axis] for axis in array.dims]
    places = [axis.attrs.get(_TABLE, range(axis.size)) for axis in axes]
    labels = [[_suffix(str(axis.name), x) for x in axis.values.tolist()] for axis in axes]
    values = array.values
    for index in itertools.product(*places):
        ends = (labels[k][i] for k, i in enumerate(index))
        yield name + "".join(ends), float(values[index])


def _suffix(axis: str, label: Label) -> str:
    if axis == BOUND and label == BOUNDS[0]:
        return ""
    return f"_{label:g}" if isinstance(label, float) else f"_{label}"
