"""What a row of the table is made of: one measurement a metric, each kept by what it depends on.

    DIR/runs/<run>/metrics/<id>.safetensors     of a run
    DIR/measured/<id>.safetensors               of a point or of the data, for all its rows
    .../<id>.failed.json                        why it could not be made

``<id>`` hashes the recipe and the code of the metric with what it measures: the sampler's name, the
problem, or data and prior; and the runs that it needs besides. So a metric that is added or edited
is measured alone, and one that fails leaves the others as they are. A file whose content does not
belong to its name, or was altered, is named and measured again.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mempost.core.cautions import collecting
from mempost.core.errors import CorruptFileError, PluginError
from mempost.core.fields import PluginField
from mempost.core.identity import digest
from mempost.core.measured import Array, Measured
from mempost.core.metric import Metric
from mempost.core.prior import State
from mempost.core.registry import REGISTRIES
from mempost.experiments.plan import DIGITS, Plan, Run
from mempost.experiments.store import Store

ROOTS = ("mempost.core.result",)
"""The code that metrics stand on besides their own."""


@dataclass(frozen=True)
class Measurement:
    """One metric at one run, point, or data with their prior.

    Attributes:
        position: of the metric in the spec.
        metric: the metric.
        needs: keys of the samplers that must have drawn before.
        path: where it is kept.
    """

    position: int
    metric: Metric
    needs: tuple[str, ...]
    path: Path

    @property
    def id(self) -> str:
        """The hash of what it depends on."""
        return self.path.stem

    @property
    def failure(self) -> Path:
        """Where the reason stands if it could not be made."""
        return self.path.with_suffix(".failed.json")

    @property
    def name(self) -> str:
        """How it is called where something is said of it."""
        return f"metrics.{self.position} ({REGISTRIES['metric'].name_of(type(self.metric))})"


@dataclass
class Row:
    """What is measured of one run.

    Attributes:
        measured: variables by name.
        columns: the numbers of the table.
        silent: positions of the metrics that do not apply.
        pending: whether something is still to be measured.
        failures: what could not be measured, and why.
    """

    measured: dict[str, Array] = field(default_factory=dict)
    columns: dict[str, float] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    pending: bool = False
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, measured: Measured) -> None:
        """Take up the variables of a metric, unless another one has given one of them."""
        try:
            columns = measured.columns
            for kind, found, mine in (
                ("column", self.columns, columns),
                ("variable", self.measured, measured),
            ):
                if twice := found.keys() & mine.keys():
                    raise PluginError(f"an earlier metric has the {kind} {min(twice)!r}")
        except PluginError as error:
            self.failures.append(f"{name}: {error}")
        else:
            self.columns |= columns
            self.measured |= measured


class Measurements:
    """Plans, keeps and finds what is measured of the runs of a plan."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self._ids = {(id(run.point), run.key): run.id for run in plan.runs}
        self._recipes: dict[str, str] = {}
        self._planned: dict[tuple[int, str], list[Measurement]] = {}
        self._read: dict[Path, tuple[tuple[int, ...], tuple[Measured, list[str]]]] = {}

    # -- planning -----------------------------------------------------------------------------

    def of(self, run: Run) -> list[Measurement]:
        """One measurement a metric of the run's spec, in order."""
        key = (id(run.point), run.key)
        if key not in self._planned:
            metrics = enumerate(run.point.spec.metrics)
            self._planned[key] = [self._measurement(run, i, metric) for i, metric in metrics]
        return self._planned[key]

    def groups(self, run: Run) -> list[list[Measurement]]:
        """The measurements of a run, together what must wait for the same: a task each."""
        groups: dict[Any, list[Measurement]] = {}
        for one in self.of(run):
            groups.setdefault((one.metric.subject, one.needs), []).append(one)
        return list(groups.values())

    def _measurement(self, run: Run, position: int, metric: Metric) -> Measurement:
        samplers = tuple(run.point.spec.samplers)
        needs = metric.needs(samplers)
        parts: list[Any] = [self._recipe(metric)]
        if metric.subject == "data":
            parts += [run.prior_id]
        else:
            parts += [{key: self._ids[id(run.point), key] for key in sorted(needs)}]
            parts += [run.key if metric.subject == "run" else run.point.problem_id]
        name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:DIGITS]
        folder = ("runs", run.id, "metrics") if metric.subject == "run" else ("measured",)
        path = self.store.path(*folder, f"{name}.safetensors")
        return Measurement(position, metric, needs, path)

    def _recipe(self, metric: Metric) -> str:
        """The hash of a metric's recipe and code."""
        dumped = PluginField("metric").dump(metric)
        key = json.dumps(dumped, sort_keys=True)
        if key not in self._recipes:
            self._recipes[key] = digest(dumped, [metric], ROOTS)
        return self._recipes[key]

    # -- files --------------------------------------------------------------------------------

    def read(self, one: Measurement) -> Measured | None:
        """What was measured; None if that is not there, or damaged."""
        try:
            stat = one.path.stat()
        except FileNotFoundError:
            return None
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        kept = self._read.get(one.path)
        if kept is None or kept[0] != seen:
            found = self.store.read_or_none(self._load, one.path)
            if found is None:
                return None
            kept = self._read[one.path] = (seen, found)
        return kept[1][0]

    def said(self, run: Run) -> list[str]:
        """What was said about accuracy while a run was measured."""
        there = [one.path for one in self.of(run) if self.read(one) is not None]
        return list(dict.fromkeys(text for path in there for text in self._read[path][1][1]))

    def _load(self, path: Path) -> tuple[Measured, list[str]]:
        tensors, values = self.store.read_tensors(path)
        try:
            return Measured.restored(State(tensors, values)), list(values["warnings"])
        except (KeyError, TypeError, PluginError) as error:
            raise CorruptFileError(f"{path} is corrupt and not used: {error}") from None

    def failure(self, one: Measurement) -> str | None:
        """Why it could not be made when that was last tried."""
        kept = self.store.read_or_none(self.store.read_json, one.failure)
        return None if kept is None else str(kept.get("reason", ""))

    def forget_failures(self, run: Run) -> None:
        """Before it is tried again."""
        for one in self.of(run):
            one.failure.unlink(missing_ok=True)

    # -- measuring ----------------------------------------------------------------------------

    def make(self, group: list[Measurement], subject: Callable[[Measurement], Any]) -> None:
        """Measure what is not there, of what ``subject`` gives; note what fails."""
        for one in group:
            if self.read(one) is not None:
                continue
            try:
                with collecting() as said:
                    found = one.metric.evaluate(subject(one))
                if not isinstance(found, Measured):
                    raise PluginError(
                        f"evaluate gives a {type(found).__name__}; return mempost.Measured({{...}})"
                    )
                tensors, values = found.state()
                self.store.write_tensors(one.path, tensors, {**values, "warnings": list(said)})
            except Exception as error:  # one metric that fails must not take the others with it
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                self._fail(one, reason, traceback.format_exc())

    def skip(self, group: list[Measurement], reason: str, trace: str) -> None:
        """Note why a group was not measured."""
        for one in group:
            if self.read(one) is None and self.failure(one) is None:
                self._fail(one, reason, trace)

    def _fail(self, one: Measurement, reason: str, trace: str) -> None:
        self.store.write_json(one.failure, {"reason": reason, "trace": trace})

    # -- rows ---------------------------------------------------------------------------------

    def row(self, run: Run) -> Row:
        """All that is measured of a run."""
        row = Row()
        for one in self.of(run):
            found = self.read(one)
            if found is not None:
                row.add(one.name, found)
                row.silent |= set() if found else {one.position}
            elif (reason := self.failure(one)) is not None:
                row.failures.append(f"{one.name}: {reason}")
            else:
                row.pending = True
        return row
