"""Executors: where tasks run. In this process, or in local worker processes.

An executor takes tasks with their dependencies and yields an outcome for each. A task whose
dependency failed is not run; it takes over the reason.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mempost.core.errors import MempostError
from mempost.core.progress import Progress, silent
from mempost.experiments.plan import Plan, make_plan
from mempost.experiments.store import Store
from mempost.experiments.workshop import Task, Workshop

Graph = Mapping[Task, tuple[Task, ...]]
"""Tasks in order, each with the tasks that must come first."""


class Outcome(NamedTuple):
    """A task that is done, or the reason why it is not, with the traceback."""

    task: Task
    reason: str | None = None
    trace: str = ""


class Executor(Protocol):
    """Runs the tasks of a graph."""

    def __call__(self, graph: Graph) -> Iterator[Outcome]: ...


def _attempt(task: Task, work: Callable[[], None]) -> Outcome:
    try:
        work()
    except Exception as error:  # a failed run is a row in the table; the others go on
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(task, reason, traceback.format_exc())
    return Outcome(task)


class Serial:
    """One task after the other, in this process."""

    def __init__(self, workshop: Workshop, progress: Callable[[Task], Progress] | None) -> None:
        self.workshop, self.progress = workshop, progress

    def __call__(self, graph: Graph) -> Iterator[Outcome]:
        reasons: dict[Task, str] = {}
        for task, needs in graph.items():
            reason = _first_reason(needs, reasons)
            if reason is None:
                progress = silent if self.progress is None else self.progress(task)
                outcome = _attempt(task, lambda t=task, p=progress: self.workshop.carry_out(t, p))  # type: ignore[misc]
            else:
                outcome = Outcome(task, reason)
            if outcome.reason is not None:
                reasons[task] = outcome.reason
            yield outcome


class LocalProcesses:
    """Worker processes on this machine, each with its own copy of the plan."""

    def __init__(self, workshop: Workshop, workers: int, folder: Path | None) -> None:
        self.workshop, self.workers, self.folder = workshop, workers, folder

    def __call__(self, graph: Graph) -> Iterator[Outcome]:
        plan, store = self.workshop.plan, self.workshop.store
        arguments = (plan.raw, self.folder, store.folder, self.workshop.threads)
        pool = ProcessPoolExecutor(
            self.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=arguments,
        )
        finished = False
        try:
            yield from _schedule(pool, graph)
            finished = True
        except BrokenProcessPool:
            raise MempostError(
                "a worker process died (killed, or out of memory); finished work is kept, "
                "run the same command again to go on"
            ) from None
        finally:
            if not finished:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
            pool.shutdown(wait=finished, cancel_futures=True)


def _schedule(pool: ProcessPoolExecutor, graph: Graph) -> Iterator[Outcome]:
    waiting = dict(graph)
    running: dict[Future[Outcome], Task] = {}
    done: set[Task] = set()
    reasons: dict[Task, str] = {}
    while waiting or running:
        for task in [t for t, needs in waiting.items() if all(n in done for n in needs)]:
            needs = waiting.pop(task)
            reason = _first_reason(needs, reasons)
            if reason is None:
                running[pool.submit(_carry_out, task)] = task
            else:
                done.add(task)
                reasons[task] = reason
                yield Outcome(task, reason)
        if not running:
            continue
        completed, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in completed:
            outcome = future.result()
            done.add(running.pop(future))
            if outcome.reason is not None:
                reasons[outcome.task] = outcome.reason
            yield outcome


def _first_reason(needs: Iterable[Task], reasons: Mapping[Task, str]) -> str | None:
    return next((reasons[n] for n in needs if n in reasons), None)


_workshop: Workshop | None = None


def _start_worker(raw: Mapping[str, Any], folder: Path | None, out: Path, threads: int) -> None:
    """Plan the study anew in a worker; Ctrl-C is the parent's to handle."""
    global _workshop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan: Plan = make_plan(raw, "spec", folder)
    _workshop = Workshop(plan, Store(out), threads)


def _carry_out(task: Task) -> Outcome:
    workshop = _workshop
    assert workshop is not None
    return _attempt(task, lambda: workshop.carry_out(task))
