"""A study: a spec that has been run, with its table, results, figures and report.

study = mempost.run("configs/figure1_1d.yaml", set={"prior.bandwidth": 0.4})
study.table, study.results, study.figures
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mempost.core.errors import MempostError, PluginError, SpecError
from mempost.core.plugin import Plugin
from mempost.core.reference import PluginField
from mempost.core.registry import REGISTRIES
from mempost.core.result import Result
from mempost.experiments.build import preflight
from mempost.experiments.overrides import read_spec, set_path
from mempost.experiments.plan import Plan, make_plan
from mempost.experiments.runner import Status, Watcher, execute, status_of
from mempost.experiments.store import Store
from mempost.experiments.workshop import Workshop

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

Row = dict[str, Any]


def load(
    spec: str | Path | Mapping[str, Any],
    set: Mapping[str, Any] | None = None,
) -> tuple[Plan, Path | None]:
    """Plan a study from a file or a mapping, with overrides; also the folder of its files.

    Raises:
        SpecError: where the spec is wrong, and what is allowed.
    """
    if isinstance(spec, Mapping):
        raw, where, folder = _plain(spec), "spec", None
    else:
        raw, where, folder = read_spec(Path(spec)), str(spec), Path(spec).resolve().parent
    for path, value in (set or {}).items():
        raw = set_path(raw, path, _plain(value))
    return make_plan(raw, where, folder), folder


def check(plan: Plan, where: str) -> None:
    """Check that the pieces of every distinct problem fit together, before any work."""
    seen: set[Any] = set()
    for point in plan.points:
        key = (point.problem_id, tuple(point.spec.samplers.values()))
        if key not in seen:
            at = ", ".join(f"{path}={label}" for path, label in point.labels.items())
            seen.add(key)
            preflight(point.spec, f"{where} at {at}" if at else where)


def run(
    spec: str | Path | Mapping[str, Any],
    *,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    workers: int = 1,
    threads: int = 1,
    watcher: Watcher | None = None,
) -> Study:
    """Run a spec; finished runs are not run again.

    Args:
        spec: a YAML file, or the same as a mapping (plugin instances are accepted).
        set: values by dotted path, as ``--set`` on the command line.
        out: output folder; ``results/<name of the spec>`` if not given.
        workers: local processes. The numbers do not depend on it.
        threads: threads of linear algebra a process; sums may change in the last bit with it.
        watcher: sees the progress.

    Raises:
        SpecError: the spec is wrong.
    """
    plan, folder = load(spec, set)
    name = "study" if isinstance(spec, Mapping) else Path(spec).stem
    check(plan, "spec" if isinstance(spec, Mapping) else str(spec))
    if workers < 1 or threads < 1:
        raise SpecError(f"workers and threads are integers from 1, found {workers} and {threads}")
    store = Store(Path(out) if out is not None else Path("results") / name)
    study = Study(plan, store, threads, folder)
    study.remember()
    try:
        execute(study.workshop, workers, folder, watcher or Watcher())
    finally:
        study.write_table()
    study.write()
    return study


class Study:
    """A planned study and what stands of it in its output folder."""

    def __init__(
        self, plan: Plan, store: Store, threads: int = 1, folder: Path | None = None
    ) -> None:
        self.plan, self.store, self.folder = plan, store, folder
        self.workshop = Workshop(plan, store, threads)

    @classmethod
    def open(cls, out: str | Path) -> Study:
        """The study that was run into a folder.

        Raises:
            SpecError: the folder holds no study.
        """
        store = Store(Path(out))
        kept = store.read_or_none(store.read_json, store.path("study.json"))
        if kept is None:
            raise SpecError(f"{out}: no study was run into this folder (no study.json)")
        folder = None if kept["folder"] is None else Path(kept["folder"])
        return cls(make_plan(kept["spec"], str(out), folder), store, 1, folder)

    def remember(self) -> None:
        """Write ``study.json``, from which `open` plans again."""
        folder = None if self.folder is None else str(self.folder)
        spec = {"spec": self.plan.raw, "folder": folder}
        self.store.write_json(self.store.path("study.json"), spec)

    @property
    def statuses(self) -> list[Status]:
        """How every run stands, in the order of the plan."""
        return status_of(self.workshop)

    @property
    def ok(self) -> bool:
        """Whether every run is finished and every figure is drawn."""
        return all(s.state == "ok" for s in self.statuses) and not self.figure_errors

    @property
    def rows(self) -> list[Row]:
        """One row a run: the sweep's coordinates, the sampler, metrics, status, reason, run id."""
        rows: list[Row] = []
        for run, status in zip(self.plan.runs, self.statuses, strict=True):
            metrics = self.workshop.metrics(run) if status.state == "ok" else None
            end = {"status": status.state, "reason": status.reason, "run": run.id}
            rows.append({**run.point.labels, "sampler": run.key, **(metrics or {}), **end})
        return rows

    @property
    def columns(self) -> list[str]:
        """Columns of the table in order."""
        rows = self.rows
        last = ["status", "reason", "run"]
        first = list(dict.fromkeys(k for row in rows for k in row if k not in last))
        return first + last

    @property
    def table(self) -> pd.DataFrame:
        """The table as a pandas data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=self.columns)

    @cached_property
    def results(self) -> list[Result]:
        """The results of finished runs; samples and posteriors load when asked for."""
        runs = zip(self.plan.runs, self.statuses, strict=True)
        return [self.workshop.result(run) for run, status in runs if status.state == "ok"]

    @cached_property
    def _drawn(self) -> tuple[dict[str, Canvas], list[str]]:
        drawn: dict[str, Canvas] = {}
        errors: list[str] = []
        for i, figure in enumerate(self.plan.first.figures if self.results else ()):
            try:
                for name, canvas in figure.draw(self.results):
                    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                        raise PluginError(f"{name!r} is not a plain file stem")
                    drawn[name if name not in drawn else f"{name}_{i}"] = canvas
            except Exception as error:  # one figure that fails must not take the table with it
                message = " ".join(str(error).split())
                errors.append(f"figures.{i}: {type(error).__name__}: {message}")
        return drawn, errors

    @property
    def figures(self) -> dict[str, Canvas]:
        """The study's matplotlib figures by name."""
        return self._drawn[0]

    @property
    def figure_errors(self) -> list[str]:
        """Figures that could not be drawn, and why."""
        return self._drawn[1]

    @property
    def verdicts(self) -> list[str]:
        """What the metrics have to say about the study in words."""
        said: list[str] = []
        for i, metric in enumerate(self.plan.first.metrics if self.results else ()):
            try:
                said.extend(metric.verdict(self.results))
            except MempostError as error:
                said.append(f"metrics.{i}: {error}")
        return said

    def write_table(self) -> None:
        """Write ``table.csv``."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({k: _cell(v) for k, v in row.items()})
        self.store.write(self.store.path("table.csv"), text.getvalue().encode())

    def write(self) -> None:
        """Write the table, the figures and the report."""
        from mempost.experiments.report.html import write_report
        from mempost.experiments.report.pictures import write_figures

        self.write_table()
        write_figures(self.store, self.figures)
        write_report(self)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return value


def _plain(value: Any) -> Any:
    """Plain data, with plugin instances written as ``{type: NAME, ...}``."""
    if isinstance(value, Plugin):
        for kind, registry in REGISTRIES.items():
            if isinstance(value, registry.base):
                return PluginField(kind).dump(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, tensors
        return value.tolist()
    return value
