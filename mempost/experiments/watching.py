"""Showing progress: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from mempost.core.progress import Progress
from mempost.experiments.executors import Outcome
from mempost.experiments.runner import Watcher
from mempost.experiments.tasks import Task

EVERY = 10.0
"""Seconds between lines where there is no terminal."""


class BarWatcher(Watcher):
    """A bar for the study's tasks, and one for the steps of every task that runs."""

    def __init__(self, console: Console) -> None:
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )

    def start(self, runs: int, left: int, tasks: int) -> None:
        if runs > left:
            self.bars.console.print(f"{runs - left} of {runs} runs are finished already")
        self.bars.start()
        self.all = self.bars.add_task("tasks", total=tasks, note="")
        self.running: dict[Task, TaskID] = {}

    def progress(self, task: Task) -> Progress:
        def report(done: int, total: int, note: str = "") -> None:
            if task not in self.running:
                self.running[task] = self.bars.add_task(task.kind, total=total, note="")
            self.bars.update(self.running[task], completed=done, total=total, note=note)

        return report

    def done(self, outcome: Outcome) -> None:
        if outcome.task in self.running:
            self.bars.remove_task(self.running.pop(outcome.task))
        self.bars.advance(self.all)

    def stop(self) -> None:
        self.bars.stop()


class LineWatcher(Watcher):
    """A line at the start, and at most one every `EVERY` seconds."""

    def start(self, runs: int, left: int, tasks: int) -> None:
        self.tasks, self.finished, self.last = tasks, 0, time.monotonic()
        self._say(f"{runs - left} of {runs} runs are finished, {tasks} tasks to do")

    def progress(self, task: Task) -> Progress:
        def report(done: int, total: int, note: str = "") -> None:
            self._now_and_then(f", {task.kind}: step {done} of {total} {note}".rstrip())

        return report

    def done(self, outcome: Outcome) -> None:
        self.finished += 1
        self._now_and_then("", always=self.finished == self.tasks)

    def _now_and_then(self, text: str, always: bool = False) -> None:
        if always or time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self._say(f"{self.finished} of {self.tasks} tasks done{text}")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def console_watcher() -> Watcher:
    """Bars on a terminal, lines elsewhere; both on standard error."""
    console = Console(stderr=True)
    return BarWatcher(console) if console.is_terminal else LineWatcher()
