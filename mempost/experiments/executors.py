"""Executors: where tasks run. In this process, or in local worker processes.

An executor takes tasks with their dependencies and yields an outcome for each. A task whose
dependency failed is not run, unless its kind says that it can be; it takes over the reason.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple, Protocol

from mempost.core.errors import MempostError
from mempost.core.progress import Progress, silent
from mempost.experiments.plan import Plan, make_plan
from mempost.experiments.store import Store
from mempost.experiments.tasks import KINDS, Task
from mempost.experiments.worker import Worker

EVERY = 0.5
"""Seconds between a worker's reports of its steps."""

_Step = tuple[Task, int, int, str]
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

    def __init__(self, worker: Worker, progress: Callable[[Task], Progress] | None) -> None:
        self.worker, self.progress = worker, progress

    def __call__(self, graph: Graph) -> Iterator[Outcome]:
        reasons: dict[Task, str] = {}
        for task, needs in graph.items():
            reason = _first_reason(self.worker.plan, task, needs, reasons)
            if reason is None:
                progress = silent if self.progress is None else self.progress(task)
                outcome = _attempt(task, lambda t=task, p=progress: self.worker.carry_out(t, p))  # type: ignore[misc]
            else:
                outcome = Outcome(task, reason)
            if outcome.reason is not None:
                reasons[task] = outcome.reason
            yield outcome


class LocalProcesses:
    """Worker processes on this machine, each with its own copy of the plan."""

    def __init__(
        self,
        worker: Worker,
        workers: int,
        folder: Path | None,
        progress: Callable[[Task], Progress],
    ) -> None:
        self.worker, self.workers, self.folder = worker, workers, folder
        self.progress = progress

    def __call__(self, graph: Graph) -> Iterator[Outcome]:
        plan, store = self.worker.plan, self.worker.store
        context = multiprocessing.get_context("spawn")
        steps: Queue[_Step] = context.Queue()
        arguments = (plan.raw, self.folder, store.folder, self.worker.threads, steps)
        pool = ProcessPoolExecutor(
            self.workers,
            mp_context=context,
            initializer=_start_worker,
            initargs=arguments,
        )
        finished = False
        try:
            ended: set[Task] = set()
            for outcome in _schedule(pool, graph, plan):
                self._show(steps, ended)
                if outcome is not None:
                    ended.add(outcome.task)
                    yield outcome
            finished = True
        except BrokenProcessPool:
            raise MempostError(
                "a worker process died (killed, or out of memory; or a script that calls run "
                "without `if __name__ == '__main__':`); finished work is kept, run the same "
                "command again to go on"
            ) from None
        finally:
            if not finished:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
            pool.shutdown(wait=finished, cancel_futures=True)

    def _show(self, steps: Queue[_Step], ended: set[Task]) -> None:
        """Report what the workers have said of the steps of tasks that still run."""
        while True:
            try:
                task, done, total, note = steps.get_nowait()
            except Empty:
                return
            if task not in ended:
                self.progress(task)(done, total, note)


def _schedule(pool: ProcessPoolExecutor, graph: Graph, plan: Plan) -> Iterator[Outcome | None]:
    """Outcomes as they come, and None now and then."""
    waiting = dict(graph)
    running: dict[Future[Outcome], Task] = {}
    done: set[Task] = set()
    reasons: dict[Task, str] = {}
    while waiting or running:
        for task in [t for t, needs in waiting.items() if all(n in done for n in needs)]:
            needs = waiting.pop(task)
            reason = _first_reason(plan, task, needs, reasons)
            if reason is None:
                running[pool.submit(_carry_out, task)] = task
            else:
                done.add(task)
                reasons[task] = reason
                yield Outcome(task, reason)
        if not running:
            continue
        completed, _ = wait(running, timeout=EVERY, return_when=FIRST_COMPLETED)
        if not completed:
            yield None
        for future in completed:
            outcome = future.result()
            done.add(running.pop(future))
            if outcome.reason is not None:
                reasons[outcome.task] = outcome.reason
            yield outcome


def _first_reason(
    plan: Plan, task: Task, needs: Iterable[Task], reasons: Mapping[Task, str]
) -> str | None:
    """Why a task cannot be done: what it needs has failed."""
    found = (KINDS[task.kind].blocked(plan, task, n, reasons[n]) for n in needs if n in reasons)
    return next((reason for reason in found if reason is not None), None)


_worker: Worker | None = None
_steps: Queue[_Step] | None = None


def _start_worker(
    raw: Mapping[str, Any], folder: Path | None, out: Path, threads: int, steps: Queue[_Step]
) -> None:
    """Plan the study anew in a worker; Ctrl-C is the parent's to handle, whose end ends it."""
    global _worker, _steps
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _steps = steps
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan: Plan = make_plan(raw, "spec", folder)
    _worker = Worker(plan, Store(out), threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # files are written whole or not at all


def _carry_out(task: Task) -> Outcome:
    worker, steps = _worker, _steps
    assert worker is not None and steps is not None
    last = time.monotonic()

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            steps.put((task, done, total, note))

    return _attempt(task, lambda: worker.carry_out(task, report))
