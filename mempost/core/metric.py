"""Metrics: scalars measured on the result of a run, one column each in the table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from mempost.core.plugin import Plugin
from mempost.core.result import Result


class Metric(Plugin, ABC):
    """A measurement; authors override ``evaluate``.

    A metric that compares with another sampler names it in a field ``reference`` (a key of the
    spec's ``samplers``) and finds it through ``result.sibling``.
    """

    needs_question: ClassVar[bool] = False
    """Whether it measures something of the operator, the noise or the data."""

    @property
    def compares_with(self) -> tuple[str, ...]:
        """Keys of the samplers whose results it asks for; by default its ``reference``."""
        reference = getattr(self, "reference", None)
        return (reference,) if isinstance(reference, str) else ()

    @abstractmethod
    def evaluate(self, result: Result) -> dict[str, float]:
        """Column names and values; an empty dict where the metric does not apply."""

    def verdict(self, results: Sequence[Result]) -> list[str]:
        """Sentences for the report, drawn from the measured ``metrics`` of all results."""
        return []
