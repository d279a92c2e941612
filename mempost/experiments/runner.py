"""Running a plan: which tasks are left, carried out by an executor, and how every run ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mempost.core.progress import Progress, silent
from mempost.experiments.executors import Executor, Graph, LocalProcesses, Outcome, Serial
from mempost.experiments.plan import Plan
from mempost.experiments.workshop import Task, Workshop


@dataclass(frozen=True)
class Status:
    """How a run stands: ``ok``, ``failed`` with a reason, or ``pending``."""

    state: str
    reason: str = ""


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


def graph_of(workshop: Workshop) -> Graph:
    """The tasks that are left, point by point, each with what it needs."""
    graph: dict[Task, tuple[Task, ...]] = {}
    plan = workshop.plan
    fits: dict[str, Task] = {}
    assembled: dict[str, Task] = {}
    prepared: dict[int, Task] = {}
    measured: set[tuple[str, str]] = set()
    for first, count in _point_ranges(plan):
        here = range(first, first + count)
        for i in here:
            run = plan.runs[i]
            if run.id in assembled or workshop.records.provenance(run) is not None:
                continue
            needs: tuple[Task, ...] = ()
            for k, (prior_id, spec) in enumerate(workshop.priors_of(run)):
                if "closed_form" not in spec.prior.tags:
                    if prior_id not in fits:
                        fits[prior_id] = Task("fit", i, k)
                        graph[fits[prior_id]] = ()
                    needs = (*needs, fits[prior_id])
            every = [Task("sample", i, k) for k in range(workshop.draws(run).tiles)]
            tiles = [t for t in every if not workshop.records.has_tile(run, t.tile)]
            sampler = run.spec.samplers[run.key]
            parts = [Task("prepare", i, k) for k in range(sampler.preparations if tiles else 0)]
            for task in parts:  # the same part of another run may be the same work: one by one
                before = (prepared[task.tile],) if task.tile in prepared else ()
                graph[task] = (*needs, *before)
                prepared[task.tile] = task
            graph |= dict.fromkeys(tiles, (*needs, *parts))
            assembled[run.id] = Task("assemble", i)
            graph[assembled[run.id]] = tuple(tiles)
        keys = {plan.runs[i].key: plan.runs[i].id for i in here}
        for i in here:
            run = plan.runs[i]
            path = str(workshop.records.metrics_path(run))
            if (run.id, path) in measured or workshop.records.metrics(run) is not None:
                continue
            measured.add((run.id, path))
            names = {name for m in run.point.spec.metrics for name in m.compares_with} | {run.key}
            ids = [keys[name] for name in sorted(names)]
            graph[Task("measure", i)] = tuple(assembled[x] for x in ids if x in assembled)
    return graph


def _point_ranges(plan: Plan) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for i, run in enumerate(plan.runs):
        if i and run.point is plan.runs[i - 1].point:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((i, 1))
    return ranges


def execute(workshop: Workshop, workers: int, folder: Path | None, watcher: Watcher) -> None:
    """Carry out what is left of a study; failed runs leave ``failed.json`` and the others go on."""
    graph = graph_of(workshop)
    runs = workshop.plan.runs
    left = {runs[t.run].id for t in graph}
    report: Callable[[Task], Progress] = lambda t: watcher.progress(t) or silent  # noqa: E731
    executor: Executor = Serial(workshop, report)
    if workers > 1 and len(graph) > 1:
        executor = LocalProcesses(workshop, workers, folder, report)
    watcher.start(len({run.id for run in runs}), len(left), len(graph))
    try:
        for run in runs:
            workshop.records.drop_failure(run)
        for outcome in executor(graph):
            if outcome.reason is not None:
                _record(workshop, outcome)
            watcher.done(outcome)
    finally:
        watcher.stop()


def _record(workshop: Workshop, outcome: Outcome) -> None:
    """Name the reason beside every run that fails with this task."""
    runs = workshop.plan.runs
    failed = [runs[outcome.task.run]]
    if outcome.task.kind == "fit":
        prior_id, _ = workshop.priors_of(failed[0])[outcome.task.tile]
        failed = [r for r in runs if prior_id in (r.prior_id, r.point.prior_id)]
    for run in failed:
        failure = {"reason": outcome.reason, "task": outcome.task._asdict(), "trace": outcome.trace}
        if outcome.trace or workshop.records.failure(run) is None:
            workshop.records.write_failure(run, failure)


def status_of(workshop: Workshop) -> list[Status]:
    """How every run of the plan stands."""
    statuses: list[Status] = []
    records = workshop.records
    for run in workshop.plan.runs:
        failed = records.failure(run)
        if records.provenance(run) is not None and records.metrics(run) is not None:
            statuses.append(Status("ok"))
        elif failed is not None:
            statuses.append(Status("failed", str(failed.get("reason", ""))))
        else:
            statuses.append(Status("pending"))
    return statuses


__all__ = ["Status", "Watcher", "execute", "graph_of", "status_of"]
