"""Metrics: what is measured, of a run, of a point of the sweep, or of the data alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from mempost.core.measured import Measured
from mempost.core.plugin import Plugin
from mempost.core.result import Result

Subject = Literal["run", "point", "data"]


class Metric(Plugin, ABC):
    """A measurement; authors override ``evaluate``.

    What is handed over is said by ``subject``:

        run     a `Result`: one sampler at one point of the sweep
        point   a `PointResults`: the problem there, with the results of the samplers by key
        data    a `DataAndPrior`: training data and the prior fitted to them

    Every one of them is measured once, and what was measured stands in every row that it belongs
    to. A metric that compares with another sampler names it in a field ``reference`` (a key of the
    spec's ``samplers``) and finds it through ``result.sibling``.
    """

    needs_question: ClassVar[bool] = False
    """Whether it measures something of the operator, the noise or the data."""

    subject: ClassVar[Subject] = "run"

    def needs(self, samplers: Sequence[str]) -> tuple[str, ...]:
        """Which ``samplers`` must have drawn before, besides the one that is measured.

        By default its ``reference``, if it has one; all of them for the subject ``point``. What is
        measured anew when a sampler changes follows from it.
        """
        reference = getattr(self, "reference", None)
        if isinstance(reference, str):
            return (reference,)
        return tuple(samplers) if self.subject == "point" else ()

    @abstractmethod
    def evaluate(self, subject: Any) -> Measured:
        """Variables with their axes; an empty `Measured` where the metric does not apply."""

    def verdict(self, results: Sequence[Result]) -> list[str]:
        """Sentences for the report, drawn from what is ``measured`` of all results."""
        return []
