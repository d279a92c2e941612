"""Figures: pictures drawn from the results of a study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mempost.core.plugin import Plugin
from mempost.core.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class Figure(Plugin, ABC):
    """A picture, or several; authors override ``draw`` (and import matplotlib inside it).

    Results come sweep point by sweep point, samplers in the order of the spec; samples and
    posteriors are loaded when they are first asked for.
    """

    @abstractmethod
    def draw(self, results: Sequence[Result]) -> Iterable[tuple[str, Canvas]]:
        """Pairs of a file stem (letters, digits, ``_``, ``-``) and a matplotlib figure."""
