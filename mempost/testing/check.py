"""Named checks: what is generated, what running one gives, and the report on all of them.

A check is a function of a *case* (a plugin with its example inputs) that returns nothing or raises.
Its name is the function's name, and the first line of its docstring says, in one sentence, what it
means when the check fails. A `Catalogue` holds the checks of one kind of plugin and yields those
that the tags of a plugin ask for.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from mempost.core.capabilities import ask
from mempost.core.errors import SpecError, nearest

T = TypeVar("T")


class CheckFailedError(AssertionError):
    """A plugin does not do what its kind or its tags promise."""


class NotApplicable(unittest.SkipTest):
    """A check has nothing to test here; test runners show it as skipped."""


def having(thing: object, capability: type[T]) -> T:
    """The thing with a capability (`mempost.core.capabilities`), or NotApplicable."""
    found = ask(thing, capability)
    if found is None:
        raise NotApplicable(f"{type(thing).__name__} is not {capability.__name__}")
    return found


Status = Literal["passed", "failed", "skipped", "failed as expected", "passed unexpectedly"]


@dataclass(frozen=True)
class Outcome:
    """What running one check gave."""

    name: str
    status: Status
    reason: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Neither failed nor passed against expectation."""
        return self.status not in ("failed", "passed unexpectedly")

    def __str__(self) -> str:
        line = f"{self.status:<20} {self.name}"
        return f"{line}: {self.reason}" if self.reason else line


@dataclass(frozen=True)
class Check:
    """One check of one plugin; calling it raises `CheckFailedError` or `NotApplicable`, or passes.

    Attributes:
        name: stable name, such as ``dot_test``.
        meaning: one sentence on what is wrong when the check fails.
        plugin: what is checked.
        expected_failure: why the check is known to fail, or None.
    """

    name: str
    meaning: str
    plugin: object = field(repr=False)
    run: Callable[[], None] = field(repr=False)
    expected_failure: str | None = None

    def __call__(self) -> None:
        try:
            self.run()
        except NotApplicable:
            raise
        except Exception as error:
            error.add_note(f"{self.name}: {self.meaning}")
            raise

    def outcome(self) -> Outcome:
        """Run the check and say how it went, whatever it raises."""
        start = time.perf_counter()
        status: Status = "passed"
        reason = ""
        try:
            self.run()
        except NotApplicable as skip:
            status, reason = "skipped", str(skip)
        except CheckFailedError as failure:
            status, reason = "failed", f"{self.meaning} {failure}"
        except Exception as error:
            status, reason = "failed", f"{self.meaning} It raised {_describe(error)}"
        if self.expected_failure is not None and status in ("failed", "passed"):
            status = "failed as expected" if status == "failed" else "passed unexpectedly"
            reason = self.expected_failure
        return Outcome(self.name, status, reason, time.perf_counter() - start)


def _describe(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks of one plugin; ``print`` it."""

    plugin: object
    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        return all(outcome.ok for outcome in self.outcomes)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed, or passed against expectation."""
        return [outcome.name for outcome in self.outcomes if not outcome.ok]

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        total = ", ".join(f"{count} {status}" for status, count in counts.items())
        lines = [f"{self.plugin!r}", *(f"  {outcome}" for outcome in self.outcomes), f"  {total}"]
        return "\n".join(lines)


class ConformanceError(AssertionError):
    """At least one check of a plugin failed; the message is the report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        super().__init__(str(report))


def run_checks(plugin: object, checks: Iterable[Check]) -> Report:
    """Run checks and return the report.

    Raises:
        ConformanceError: a check failed, or one that is expected to fail passed.
    """
    report = Report(plugin, tuple(check.outcome() for check in checks))
    if not report.ok:
        raise ConformanceError(report)
    return report


class Case(Protocol):
    """A plugin with the example inputs of its checks."""

    @property
    def plugin(self) -> Any: ...

    @property
    def tags(self) -> frozenset[str]: ...


C = TypeVar("C", bound=Case)


@dataclass(frozen=True)
class Entry(Generic[C]):
    """A check function and the tags that call for it."""

    function: Callable[[C], None]
    tag: str | None
    without: str | None

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def meaning(self) -> str:
        return (self.function.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")

    @property
    def condition(self) -> str:
        """When the check is generated, in words."""
        parts = [f"tag `{self.tag}`"] if self.tag else []
        parts += [f"no tag `{self.without}`"] if self.without else []
        return ", ".join(parts) or "always"

    def applies(self, tags: frozenset[str]) -> bool:
        return (self.tag is None or self.tag in tags) and self.without not in tags


class Catalogue(Generic[C]):
    """The checks of one kind of plugin, in the order in which they are run.

    Attributes:
        kind: what they check, in a word.
        case: makes the case of a plugin, with default inputs.
    """

    def __init__(self, kind: str, case: Callable[[Any], C]) -> None:
        self.kind, self.case = kind, case
        self.entries: list[Entry[C]] = []

    def add(
        self, *, tag: str | None = None, without: str | None = None
    ) -> Callable[[Callable[[C], None]], Callable[[C], None]]:
        """Decorate a check; ``tag`` and ``without`` name tags that it needs and excludes."""

        def decorate(function: Callable[[C], None]) -> Callable[[C], None]:
            self.entries.append(Entry(function, tag, without))
            return function

        return decorate

    def checks(
        self, case: C, expected_failed_checks: Mapping[str, str] | None = None
    ) -> Iterator[Check]:
        """The checks that apply to a case; nothing is run.

        Args:
            case: the plugin and its example inputs.
            expected_failed_checks: names of checks that are known to fail, with the reason.

        Raises:
            SpecError: ``expected_failed_checks`` names a check that is not generated.
        """
        expected = dict(expected_failed_checks or {})
        entries = [entry for entry in self.entries if entry.applies(case.tags)]
        names = [entry.name for entry in entries]
        for name in expected.keys() - set(names):
            raise SpecError(
                f"expected_failed_checks: {name!r} is not a check of {type(case.plugin).__name__}; "
                f"allowed are {', '.join(names)}.{nearest(name, names)}"
            )
        for entry in entries:
            yield _bind(entry, case, expected.get(entry.name))


def _bind(entry: Entry[C], case: C, expected: str | None) -> Check:
    return Check(entry.name, entry.meaning, case.plugin, lambda: entry.function(case), expected)
