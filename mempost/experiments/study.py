"""A study: what stands of a plan in its output folder.

study = mempost.run("configs/figure1_1d.yaml", set={"prior.bandwidth": 0.4})
study.table, study.results, study.figures["densities_1d"].canvas
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mempost.core.errors import PluginError, SpecError, nearest
from mempost.core.figure import Picture, ready_matplotlib
from mempost.core.keeping import keeping
from mempost.core.registry import REGISTRIES
from mempost.core.result import Result
from mempost.experiments.plan import Plan, make_plan
from mempost.experiments.provenance import provenance_of
from mempost.experiments.runner import Status, status_of
from mempost.experiments.store import KeptFolder, Store
from mempost.experiments.worker import Worker

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
SHOWN = 6
"""Changes that are named when a folder is refused."""


class Study:
    """A planned study and what stands of it in its output folder."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        threads: int = 1,
        folder: Path | None = None,
        said: tuple[str, ...] = (),
    ) -> None:
        """``said`` is what was said about the spec when it was checked."""
        self.plan, self.store, self.folder, self.said = plan, store, folder, said
        self.worker = Worker(plan, store, threads)

    @classmethod
    def open(cls, out: str | Path) -> Study:
        """The study that was run into a folder.

        Raises:
            SpecError: the folder holds no study, or one whose runs were made by other code or
                from other files than stand here now.
        """
        store = Store(Path(out))
        path = store.path("study.json")
        if not path.is_file():
            raise SpecError(f"{out}: no study was run into this folder (no study.json)")
        kept = store.read_json(path)
        folder = None if kept["folder"] is None else Path(kept["folder"])
        plan = make_plan(kept["spec"], str(out), folder)
        study = cls(plan, store, 1, folder, tuple(kept["warnings"]))
        study._refuse_strangers()
        return study

    def _refuse_strangers(self) -> None:
        """Raise if there are finished runs and none of them is of this plan."""
        store, runs = self.store, self.plan.runs
        ids = {run.id for run in runs}
        paths = sorted(store.folder.glob("runs/*/provenance.json"))
        if not paths or ids & {path.parent.name for path in paths}:
            return
        read = (store.read_or_none(store.read_json, path) for path in paths)
        then = next((kept for kept in read if kept is not None), None)
        if then is None:
            return
        now = provenance_of(next((r for r in runs if r.key == then["sampler"]), runs[0]), 1)
        changed = [
            f"{name} ({_short(old.get(name))} then, {_short(new.get(name))} now)"
            for old, new in ((then.get(k, {}), now[k]) for k in ("versions", "sources", "files"))
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        what = ", ".join(changed[:SHOWN]) or "the spec differs"
        what += f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise SpecError(
            f"{store.folder}: the finished runs there were made by other code or from other files: "
            f"{what}. Run the spec again; nothing was changed"
        )

    def remember(self) -> None:
        """Write ``study.json``, from which `open` plans again."""
        folder = None if self.folder is None else str(self.folder)
        spec = {"spec": self.plan.raw, "folder": folder, "warnings": list(self.said)}
        self.store.write_json(self.store.path("study.json"), spec)

    @property
    def statuses(self) -> list[Status]:
        """How every run stands, in the order of the plan."""
        return status_of(self.worker)

    @property
    def ok(self) -> bool:
        """Whether every run is finished and every figure is drawn."""
        return all(s.state == "ok" for s in self.statuses) and not self.errors

    @property
    def rows(self) -> list[Row]:
        """One row a run: the sweep's coordinates, the sampler, metrics, status, reason, run id."""
        rows: list[Row] = []
        for run, status in zip(self.plan.runs, self.statuses, strict=True):
            found = self.worker.measurements.row(run).columns if status.drawn else {}
            end = {"status": status.state, "reason": status.reason, "run": run.id}
            rows.append({**run.point.labels, "sampler": run.key, **found, **end})
        return rows

    @property
    def columns(self) -> list[str]:
        """Columns of the table in order."""
        rows = self.rows
        last = ["status", "reason", "run"]
        first = list(dict.fromkeys(k for row in rows for k in row if k not in last))
        return first + last

    @property
    def short_columns(self) -> list[str]:
        """Columns of the spec's ``table`` that are there."""
        columns = self.columns
        return [c for c in self.plan.first.table if c in columns]

    @property
    def table(self) -> pd.DataFrame:
        """The table as a pandas data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=self.columns)

    @cached_property
    def results(self) -> list[Result]:
        """The results of finished runs; samples and posteriors load when asked for.

        A run with a metric that failed is one of them: it has its draws, and the other metrics.
        """
        runs = zip(self.plan.runs, self.statuses, strict=True)
        done = [run for run, status in runs if status.drawn and status.state != "pending"]
        return [self.worker.result(run) for run in done]

    @cached_property
    def _drawn(self) -> tuple[dict[str, Picture], list[str]]:
        drawn: dict[str, Picture] = {}
        errors: list[str] = []
        ready_matplotlib()
        for i, figure in enumerate(self.plan.first.figures if self.results else ()):
            try:
                with keeping(KeptFolder(self.store)):  # a posterior may be made of what is kept
                    pictures = list(figure.draw(self.results))
                for picture in pictures:
                    _require_whole(picture)
                    name = picture.stem if picture.stem not in drawn else f"{picture.stem}_{i}"
                    drawn[name] = picture
            except Exception as error:  # one figure that fails must not take the table with it
                message = " ".join(str(error).split())
                errors.append(f"figures.{i}: {type(error).__name__}: {message}")
        return drawn, errors

    @property
    def figures(self) -> dict[str, Picture]:
        """The study's pictures by name: a matplotlib ``canvas`` with ``caption`` and ``alt``."""
        return self._drawn[0]

    @property
    def errors(self) -> list[str]:
        """Figures that could not be drawn, and why; columns that are asked for and not there."""
        columns = self.columns
        missing = [c for c in self.plan.first.table if self.results and c not in columns]
        return self._drawn[1] + [
            f"table: there is no column {c!r}.{nearest(c, columns)}" for c in missing
        ]

    @property
    def warnings(self) -> list[str]:
        """What was said about the accuracy of the numbers, with the samplers that it concerns."""
        concerned: dict[str, dict[str, None]] = {text: {} for text in self.said}
        for run in self.plan.runs:
            kept = self.worker.records.provenance(run) or {}
            for text in (*kept.get("warnings", ()), *self.worker.measurements.said(run)):
                concerned.setdefault(text, {})[run.key] = None
        return [
            text + (f" ({', '.join(keys)})" if keys else "") for text, keys in concerned.items()
        ]

    @property
    def verdicts(self) -> list[str]:
        """What the metrics have to say about the study in words."""
        said: list[str] = []
        for i, metric in enumerate(self.plan.first.metrics if self.results else ()):
            try:
                said.extend(metric.verdict(self.results))
            except Exception as error:  # one sentence that fails must not take the report with it
                message = " ".join(str(error).split())
                said.append(f"metrics.{i}: {type(error).__name__}: {message}")
        silent = [self.worker.measurements.row(run).silent for run in self.plan.runs]
        for i in sorted(set.intersection(*silent) if silent else ()):
            name = REGISTRIES["metric"].name_of(type(self.plan.first.metrics[i]))
            said.append(f"{name} has no number for any run; `mempost describe {name}` says when")
        return said


def _require_whole(picture: Picture) -> None:
    """Refuse what is no picture with a plain name, a caption and an alternative text."""
    if not isinstance(picture, Picture):
        raise PluginError(
            "draw yields mempost.Picture(stem, canvas, caption, alt), "
            f"found {type(picture).__name__}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", picture.stem):
        raise PluginError(f"{picture.stem!r} is not a plain file stem")
    if not (picture.caption.strip() and picture.alt.strip()):
        raise PluginError(f"the picture {picture.stem!r} has no caption or no alternative text")


def _short(version: str | None) -> str:
    """A version, or the first digits of a hash."""
    return "none" if version is None else version[:12]
