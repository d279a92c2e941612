"""From a spec to runs: the sweep expanded, every run named by the hash of what determines it.

A run is one sampler at one point of the sweep. Its id hashes the resolved spec of that run, the
sha256 of every file it reads and the version of every distribution it uses; title, metrics, figures
and the sampler's name stay out, so that they can change without sampling again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mempost.core.errors import PluginError
from mempost.core.plugin import Plugin, input_files
from mempost.core.registry import REGISTRIES
from mempost.experiments.overrides import sweep_points
from mempost.experiments.spec import Spec, parse_spec

PRIOR_FIELDS = {"seed", "dtype", "device", "data", "prior"}
PROBLEM_FIELDS = PRIOR_FIELDS | {"operator", "noise", "observation"}
LIBRARIES = ("mempost", "torch", "numpy", "scipy")


@dataclass(frozen=True)
class Point:
    """One point of the sweep: its labels by dotted path, and its validated spec."""

    labels: Mapping[str, Any]
    spec: Spec
    prior_id: str
    problem_id: str


@dataclass(frozen=True)
class Run:
    """One sampler at one point."""

    id: str
    key: str
    point: Point
    prior_id: str
    resolved: Mapping[str, Any]

    @property
    def n(self) -> int:
        return self.point.spec.n_samples(self.key)

    @property
    def spec(self) -> Spec:
        """The spec of the point, with the prior of this sampler."""
        return self.point.spec.under_prior_of(self.key)


@dataclass(frozen=True)
class Plan:
    """All runs of a study, point by point, samplers in the order of the spec."""

    title: str
    raw: Mapping[str, Any]
    points: tuple[Point, ...]
    runs: tuple[Run, ...]

    @property
    def first(self) -> Spec:
        return self.points[0].spec


def make_plan(raw: Mapping[str, Any], where: str, folder: Path | None = None) -> Plan:
    """Expand and validate a raw spec.

    Raises:
        SpecError: where the spec is wrong, at which point of the sweep, and what is allowed.
    """
    points: list[Point] = []
    runs: list[Run] = []
    for labels, one in sweep_points(raw):
        at = ", ".join(f"{path}={label}" for path, label in labels.items())
        spec = parse_spec(one, f"{where} at {at}" if at else where, folder)
        point = Point(
            labels,
            spec,
            content_hash(spec, PRIOR_FIELDS),
            content_hash(spec, PROBLEM_FIELDS),
        )
        points.append(point)
        runs.extend(_run(point, key) for key in spec.samplers)
    return Plan(points[0].spec.title, dict(raw), tuple(points), tuple(runs))


def _run(point: Point, key: str) -> Run:
    spec = point.spec
    fields = PROBLEM_FIELDS | ({"calibration"} if spec.calibration else set())
    resolved = spec.model_dump(mode="json", by_alias=True, include=fields)
    own = spec.model_dump(mode="json", by_alias=True, include={"samplers": {key}, "priors": {key}})
    resolved |= {"sampler": own["samplers"][key], "samples": spec.n_samples(key)}
    prior_id = point.prior_id
    if key in spec.priors:
        resolved["sampler_prior"] = own["priors"][key]
        prior_id = content_hash(spec.under_prior_of(key), PRIOR_FIELDS)
    return Run(_digest(resolved, parts_of(spec, key)), key, point, prior_id, resolved)


def parts_of(spec: Spec, key: str) -> list[Any]:
    """Everything that determines the run of a sampler and may read files or use plugins."""
    prior = [spec.priors[key]] if key in spec.priors else []
    return [spec.data, spec.prior, *prior, spec.operator, spec.observation, spec.samplers[key]]


def content_hash(spec: Spec, fields: set[str]) -> str:
    """Hash of some fields of a spec, with the files they read and the code they use."""
    resolved = spec.model_dump(mode="json", by_alias=True, include=fields)
    return _digest(resolved, [getattr(spec, name) for name in sorted(fields)])


def _digest(resolved: Mapping[str, Any], parts: list[Any]) -> str:
    payload = {"resolved": resolved, "files": file_hashes(parts), "versions": versions(parts)}
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_hashes(parts: list[Any]) -> dict[str, str]:
    """sha256 of every file that plugins read, by path."""
    paths = [path for part in _recipes(parts) for path in input_files(part)]
    return {str(path): sha256_of(path) for path in sorted(set(paths))}


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(parts: list[Any]) -> dict[str, str]:
    """Version of every distribution that the plugins come from, and of the numerical libraries."""
    found = dict(_library_versions())
    for plugin in plugins_in(parts):
        found.update([_distribution(type(plugin))])
    return dict(sorted(found.items()))


@functools.cache
def _library_versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, importlib.metadata.version(name)) for name in LIBRARIES)


@functools.cache
def _distribution(cls: type[Plugin]) -> tuple[str, str]:
    for registry in REGISTRIES.values():
        try:
            entry = registry.entry(registry.name_of(cls))
        except PluginError:
            continue
        return entry.distribution, entry.version
    return cls.__module__, "unregistered"


def _recipes(parts: list[Any]) -> list[BaseModel]:
    flat: list[BaseModel] = []
    for part in parts:
        if isinstance(part, BaseModel):
            flat.append(part)
        elif isinstance(part, list | tuple):
            flat.extend(_recipes(list(part)))
        elif isinstance(part, dict):
            flat.extend(_recipes(list(part.values())))
    return flat


def plugins_in(parts: list[Any]) -> list[Plugin]:
    """Every plugin inside specs, lists and mappings, plugins within plugins too."""
    found: list[Plugin] = []
    for recipe in _recipes(parts):
        if isinstance(recipe, Plugin):
            found.append(recipe)
        found.extend(plugins_in([getattr(recipe, name) for name in type(recipe).model_fields]))
    return found
