"""From a spec to runs: the sweep expanded, every run named by the hash of what determines it.

A run is one sampler at one point of the sweep. Its id hashes the resolved spec of that run with the
code that carries it out and the files it reads (`mempost.core.identity`); title, metrics, figures
and the sampler's name stay out, so that they can change without sampling again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mempost.core.errors import SpecError, nearest
from mempost.core.identity import digest
from mempost.core.sampler import PosteriorSampler
from mempost.experiments.messages import line_of
from mempost.experiments.overrides import SWEEPS, point_name, sweep_points
from mempost.experiments.spec import Spec, parse_spec, spec_errors

ROOTS = ("mempost.experiments.drawing", "mempost.experiments.results")
"""Modules that every run stands on besides its plugins: they make truth, data and noise, draw, and
write what was drawn. What else is in `mempost.experiments` may change without sampling again."""
PRIOR_ROOTS = ("mempost.experiments.fitting",)
PRIOR_FIELDS = {"seed", "dtype", "device", "data", "prior"}
DIGITS = 16
PROBLEM_FIELDS = PRIOR_FIELDS | {"operator", "noise", "observation"}


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
    def sampler(self) -> PosteriorSampler:
        return self.point.spec.samplers[self.key]

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
    allowed = [*Spec.model_fields, *SWEEPS, "extends"]
    for name in raw:
        if name not in allowed:
            hint = nearest(str(name), allowed)
            raise SpecError(
                f"{where}: {name}: Unknown name; allowed are {', '.join(allowed)}.{hint}"
            )
    for labels, one in sweep_points(raw):
        at = point_name(labels)
        spec = parse_spec(one, f"{where} at {at}" if at else where, folder)
        point = Point(
            labels,
            spec,
            id_of(spec, PRIOR_FIELDS, PRIOR_ROOTS),
            id_of(spec, PROBLEM_FIELDS, ROOTS),
        )
        points.append(point)
        runs.extend(_run(point, key) for key in spec.samplers)
    _check_replaced(raw, where, folder)
    return Plan(points[0].spec.title, dict(raw), tuple(points), tuple(runs))


def _check_replaced(raw: Mapping[str, Any], where: str, folder: Path | None) -> None:
    """Values that a sweep replaces are values, too: they may be missing, but not be wrong."""
    swept = {tuple(path.split(".")) for name in SWEEPS for path in raw.get(name) or ()}
    if swept:
        base = {key: value for key, value in raw.items() if key not in SWEEPS}
        errors = [
            detail
            for detail in spec_errors(base, folder)
            if any(_path(detail["loc"])[: len(path)] == path for path in swept)
            and detail["type"] != "missing"
        ]
        if errors:
            raise SpecError(f"{where}: {line_of(errors[0])}; a sweep replaces it")


def _path(place: tuple[int | str, ...]) -> tuple[str, ...]:
    return tuple(map(str, place))


def _run(point: Point, key: str) -> Run:
    spec = point.spec
    fields = PROBLEM_FIELDS | ({"calibration"} if spec.calibration else set())
    resolved = spec.model_dump(mode="json", by_alias=True, include=fields)
    own = spec.model_dump(mode="json", by_alias=True, include={"samplers": {key}, "priors": {key}})
    resolved |= {"sampler": own["samplers"][key], "samples": spec.n_samples(key)}
    prior_id = point.prior_id
    if key in spec.priors:
        resolved["sampler_prior"] = own["priors"][key]
        prior_id = id_of(spec.under_prior_of(key), PRIOR_FIELDS, PRIOR_ROOTS)
    name = digest(resolved, parts_of(spec, key), ROOTS)[:DIGITS]
    return Run(name, key, point, prior_id, resolved)


def parts_of(spec: Spec, key: str) -> list[Any]:
    """Everything that determines the run of a sampler and may read files or use plugins."""
    prior = [spec.priors[key]] if key in spec.priors else []
    question = [spec.operator, spec.noise, spec.observation]
    return [spec.data, spec.prior, *prior, *question, spec.samplers[key]]


def id_of(spec: Spec, fields: set[str], roots: Iterable[str]) -> str:
    """Hash of some fields of a spec, with the code that they and ``roots`` stand on."""
    dumped = spec.model_dump(mode="json", by_alias=True, include=fields)
    return digest(dumped, [getattr(spec, name) for name in sorted(fields)], roots)[:DIGITS]
