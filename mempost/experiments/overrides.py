"""Composing raw specs: ``extends``, dotted paths, ``--set`` and the points of a sweep."""

from __future__ import annotations

import copy
import itertools
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mempost.core.errors import SpecError, nearest, shown
from mempost.core.registry import KINDS
from mempost.experiments.yamlio import parse_yaml, read_mapping

MAX_POINTS = 100_000
SWEEPS = ("sweep", "zip")
NAMED = ("samplers", "priors", "samples")
"""Fields that map keys to their parts, which a null removes."""
SHARED = ("title", "description", "figures", "table")
"""Fields that belong to a study as a whole."""
_RANGE = ("from", "to", "n", "spacing")


def deep_merge(base: Any, over: Any, key: str = "") -> Any:
    """``over`` on top of ``base``: mappings merge key by key, anything else replaces.

    A null removes the key of the base; a plugin of another ``type`` replaces the base's plugin. One
    that is named alone in the base has the mapping's hyper-parameters added. ``key`` is where both
    stand: a kind may have a default, the type of a mapping without one.
    """
    if isinstance(over, dict):
        base = _in_full(base)
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return copy.deepcopy(over)
    default = KINDS[key].default if key in KINDS else None
    if "type" in over and over["type"] != base.get("type", default or over["type"]):
        return copy.deepcopy(over)
    merged = dict(base)
    for key, value in over.items():
        if value is None and key in merged:
            del merged[key]
        else:
            merged[key] = (
                deep_merge(merged[key], value, key) if key in merged else copy.deepcopy(value)
            )
    return merged


def _in_full(value: Any) -> Any:
    """A plugin that is named alone as a mapping, into which hyper-parameters can be put."""
    return {"type": value} if isinstance(value, str) else value


def read_spec(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A raw spec with everything it extends merged in.

    Raises:
        SpecError: a file cannot be read, or files extend one another in a circle.
    """
    try:
        path = path.resolve()
    except (OSError, RuntimeError):
        raise SpecError(f"{path}: a link that leads back to itself") from None
    if path in seen:
        raise SpecError(f"{path}: extends: files extend one another in a circle")
    raw = read_mapping(path)
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    if not isinstance(parent, str):
        raise SpecError(f"{path}: extends: should be the name of a file, found {shown(parent)}")
    if not (path.parent / parent).is_file():
        raise SpecError(f"{path}: extends: no such file: {parent}")
    return deep_merge(read_spec(path.parent / parent, (*seen, path)), raw)


def set_path(raw: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``raw`` with ``value`` at a dotted path, replacing what stands there.

    Setting a path that is swept takes it out of the sweep; null removes a sampler.

    Raises:
        SpecError: the path leads through something that is not there, or that a sweep replaces.
    """
    result = copy.deepcopy(dict(raw))
    if not path or any(not part for part in path.split(".")):
        raise SpecError(f"{shown(path)} is not a dotted path such as prior.bandwidth")
    for name in SWEEPS:
        for swept in _mapping(raw, name):
            if path.startswith(f"{swept}."):
                raise SpecError(f"{path}: {swept} is replaced by {name}; set {name}.{swept}")
    head, _, key = path.partition(".")
    if value is None and head in NAMED and key in (result.get(head) or {}):
        del result[head][key]
        return result
    _assign(result, path.split("."), value, path)
    if path.split(".")[0] not in SWEEPS:
        for name in SWEEPS:
            if isinstance(result.get(name), dict):
                result[name] = {k: v for k, v in result[name].items() if k != path}
    return result


def _assign(node: Any, parts: list[str], value: Any, path: str) -> None:
    head, rest = parts[0], parts[1:]
    if isinstance(node, list):
        if not (head.isdigit() and int(head) < len(node)):
            raise SpecError(f"{path}: {head!r} is not a place in a list of {len(node)}")
        if rest:
            _assign(node[int(head)], rest, value, path)
        else:
            node[int(head)] = value
        return
    if not isinstance(node, dict):
        raise SpecError(f"{path}: {head!r} is inside {shown(node)}, which has no names")
    whole = ".".join(parts)
    if not rest or whole in node:
        node[whole] = value
    elif head in SWEEPS and isinstance(node.get(head), dict | None):
        node[head] = {**(node.get(head) or {}), ".".join(rest): value}
    elif head in node:
        node[head] = _in_full(node[head])
        _assign(node[head], rest, value, path)
    else:
        raise SpecError(
            f"{path}: there is no {head!r} here; present are {', '.join(map(str, node)) or 'none'}."
            + nearest(head, map(str, node))
        )


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """``["prior.bandwidth=0.4"]`` as a mapping from paths to YAML values."""
    parsed: dict[str, Any] = {}
    for item in assignments:
        path, equals, text = item.partition("=")
        if not equals:
            raise SpecError(f"--set {item}: should be PATH=VALUE, such as prior.bandwidth=0.4")
        parsed[path.strip()] = parse_yaml(text, f"--set {path}")
    return parsed


def sweep_points(raw: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The points of a sweep as pairs (labels by path, raw spec without ``sweep`` and ``zip``).

    ``sweep`` is a product over paths, ``zip`` walks its paths together; both multiply. Values are a
    list, a mapping from labels to values, or a range ``{from, to, n, spacing: linear | log}``.

    Raises:
        SpecError: a sweep is malformed, has more than `MAX_POINTS` points, or is over what all of
            the study shares.
    """
    product = {path: _choices("sweep", path, v) for path, v in _mapping(raw, "sweep").items()}
    zipped = {path: _choices("zip", path, v) for path, v in _mapping(raw, "zip").items()}
    if inside := {*product, *zipped} & {*SWEEPS}:
        raise SpecError(f"{min(inside)}: stands beside {SWEEPS[0]} at the top, not inside of it")
    if shared := [path for path in (*product, *zipped) if path.split(".")[0] in SHARED]:
        raise SpecError(
            f"{shared[0]}: all points of a study share its {shared[0].split('.')[0]}; it cannot be "
            "swept"
        )
    if both := product.keys() & zipped.keys():
        raise SpecError(f"zip.{min(both)}: the same path stands in sweep")
    lengths = {path: len(choices) for path, choices in zipped.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{path} has {n}" for path, n in lengths.items())
        raise SpecError(f"zip: all lists should have the same length, found {found}")
    together = list(zip(*zipped.values(), strict=True)) if zipped else [()]
    total = len(together)
    for choices in product.values():
        total *= len(choices)
    if total > MAX_POINTS:
        raise SpecError(f"sweep: {total} points; allowed are at most {MAX_POINTS}")
    base = {key: value for key, value in raw.items() if key not in SWEEPS}
    paths = [*product, *zipped]
    return [_point(base, paths, choice) for choice in _combine(product, together)]


def point_name(labels: Mapping[str, Any]) -> str:
    """The labels of a point in words: ``prior.bandwidth=0.1, seed=2``."""
    return ", ".join(f"{path}={textwrap.shorten(str(v), 60)}" for path, v in labels.items())


def _combine(product: dict[str, Any], together: list[Any]) -> Iterator[tuple[Any, ...]]:
    for one in itertools.product(*product.values()):
        for many in together:
            yield (*one, *many)


def _point(
    base: dict[str, Any], paths: list[str], choice: tuple[Any, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    point = copy.deepcopy(base)
    labels: dict[str, Any] = {}
    for path, (label, value) in zip(paths, choice, strict=True):
        _assign(point, path.split("."), copy.deepcopy(value), path)
        labels[path] = label
    return labels, point


def _mapping(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SpecError(f"{name}: should map dotted paths to lists of values, found {shown(value)}")
    for path in value:
        if not isinstance(path, str) or any(not part for part in path.split(".")):
            raise SpecError(f"{name}: {shown(path)} is not a dotted path such as prior.bandwidth")
    return value


def _choices(name: str, path: str, values: Any) -> list[tuple[Any, Any]]:
    if isinstance(values, dict) and values.keys() & {*_RANGE, "start", "stop"}:
        return [(value, value) for value in _range(f"{name}.{path}", values)]
    if isinstance(values, dict) and values:
        return [(str(label), value) for label, value in values.items()]
    if isinstance(values, list) and values:
        return list(zip(_labels(values), values, strict=True))
    raise SpecError(f"{name}.{path}: should be a list of at least one value, found {shown(values)}")


def _range(where: str, values: dict[str, Any]) -> list[float]:
    """``{from: 0.01, to: 5, n: 70, spacing: log}`` as numbers; spacing is linear or log."""
    if unknown := values.keys() - {*_RANGE}:
        names = f"unknown name {min(map(str, unknown))!r}; a range has from, to, n, spacing"
        raise SpecError(f"{where}: {names}.{nearest(min(map(str, unknown)), _RANGE)}")
    if missing := [name for name in _RANGE[:3] if name not in values]:
        raise SpecError(f"{where}: missing {missing[0]!r}; a range has from, to, n, spacing")
    low, high, n = values["from"], values["to"], values["n"]
    spacing = values.get("spacing", "linear")
    if not (_is_finite(low) and _is_finite(high)):
        raise SpecError(
            f"{where}: from and to should be finite numbers, found {shown(low)}, {shown(high)}"
        )
    if not isinstance(n, int) or isinstance(n, bool) or not 2 <= n <= MAX_POINTS:
        raise SpecError(f"{where}.n: should be an integer from 2 to {MAX_POINTS}, found {shown(n)}")
    if spacing not in ("linear", "log"):
        hint = nearest(str(spacing), ("linear", "log"))
        raise SpecError(f"{where}.spacing: should be linear or log, found {shown(spacing)}.{hint}")
    if spacing == "log" and not (low > 0 and high > 0):
        raise SpecError(f"{where}: a log spacing needs from and to above 0, found {low} and {high}")
    make = np.geomspace if spacing == "log" else np.linspace
    return [float(v) for v in make(low, high, n)]


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _labels(values: list[Any]) -> list[Any]:
    """What tells values apart: themselves; of mappings the type, or all fields that differ."""
    labels = [_label(value) for value in values]
    mappings = all(isinstance(value, dict) for value in values)
    if not mappings or len(set(labels)) == len(labels):
        return labels
    fields = dict.fromkeys(name for value in values for name in value)
    differ = [f for f in fields if any(value.get(f) != values[0].get(f) for value in values)]
    return [", ".join(f"{f}={v[f]}" for f in differ if f in v) or _label(v) for v in values]


def _label(value: Any) -> Any:
    if isinstance(value, dict):
        return str(value.get("type", value))
    if isinstance(value, list):
        return _label(value[0]) if len(value) == 1 else str(value)
    return value
