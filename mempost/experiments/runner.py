"""Running a plan: which tasks are left, carried out by an executor, and how every run ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

from mempost.core.progress import Progress, silent
from mempost.experiments.executors import Executor, Graph, LocalProcesses, Outcome, Serial
from mempost.experiments.plan import Plan, Run
from mempost.experiments.tasks import DRAWING, KINDS, MEASURE, Kind, Task, Work
from mempost.experiments.worker import Worker


@dataclass(frozen=True)
class Status:
    """How a run stands: ``ok``, ``failed`` with a reason, or ``pending``; whether it has draws."""

    state: str
    reason: str = ""
    drawn: bool = False


class Watcher:
    """Sees a study run; the methods do nothing unless overridden."""

    def start(self, runs: int, left: int, tasks: int) -> None:
        """``left`` of ``runs`` runs are to be done, in ``tasks`` tasks."""

    def progress(self, task: Task) -> Progress | None:
        """Where a running task reports its steps."""
        return None

    def done(self, outcome: Outcome) -> None:
        """A task ended."""

    def stop(self) -> None:
        """The study ended, or was interrupted."""


def graph_of(worker: Worker) -> Graph:
    """The tasks that are left, point by point, each with what it needs."""
    graph: dict[Task, tuple[Task, ...]] = {}
    planned: dict[Work, Task] = {}
    for i, kind in _in_order(worker.plan):
        run = worker.plan.runs[i]
        for part in kind.left(worker, run):
            work = kind.work(worker, run, part)
            if work not in planned:
                needs = [w for w in kind.needs(worker, run, part) if w in planned]
                task = Task(kind.name, i, part)
                graph[task] = tuple(planned[w] for w in needs)
                planned[work] = task
    return graph


def _in_order(plan: Plan) -> Iterator[tuple[int, Kind]]:
    """Runs and kinds of task: at every point of the sweep all draws, then what is measured."""
    for _, here in groupby(range(len(plan.runs)), key=lambda i: id(plan.runs[i].point)):
        runs = list(here)
        yield from product(runs, DRAWING)
        yield from product(runs, (MEASURE,))


def execute(worker: Worker, workers: int, folder: Path | None, watcher: Watcher) -> None:
    """Carry out what is left of a study; failed runs leave ``failed.json`` and the others go on."""
    graph = graph_of(worker)
    runs = worker.plan.runs
    left = {runs[t.run].id for t in graph}
    report: Callable[[Task], Progress] = lambda t: watcher.progress(t) or silent  # noqa: E731
    executor: Executor = Serial(worker, report)
    if workers > 1 and len(graph) > 1:
        executor = LocalProcesses(worker, workers, folder, report)
    watcher.start(len({run.id for run in runs}), len(left), len(graph))
    try:
        for run in runs:
            worker.records.drop_failure(run)
            worker.measurements.forget_failures(run)
        for outcome in executor(graph):
            if outcome.reason is not None:
                kind = KINDS[outcome.task.kind]
                kind.fail(worker, outcome.task, outcome.reason, outcome.trace)
            watcher.done(outcome)
    finally:
        watcher.stop()


def status_of(worker: Worker) -> list[Status]:
    """How every run of the plan stands."""
    return [_status(worker, run) for run in worker.plan.runs]


def _status(worker: Worker, run: Run) -> Status:
    drawn = worker.is_drawn(run)
    failed = None if drawn else worker.records.failure(run)
    row = worker.measurements.row(run)
    if failed is not None:
        return Status("failed", str(failed.get("reason", "")))
    if not drawn or row.pending:
        return Status("pending", drawn=drawn)
    if row.failures:
        return Status("failed", "; ".join(row.failures), drawn=True)
    return Status("ok", drawn=True)


__all__ = ["Status", "Watcher", "execute", "graph_of", "status_of"]
