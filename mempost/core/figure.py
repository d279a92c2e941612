"""Figures: pictures drawn from the results of a study."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mempost.core.plugin import Plugin
from mempost.core.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class Picture(NamedTuple):
    """One picture.

    Attributes:
        stem: the file's name without ending (letters, digits, ``_``, ``-``).
        canvas: a matplotlib figure.
        caption: what is seen, with the numbers that matter; printed below the picture.
        alt: the picture in words, for those who do not see it.
    """

    stem: str
    canvas: Canvas
    caption: str
    alt: str


class Figure(Plugin, ABC):
    """A picture, or several; authors override ``draw`` (and import matplotlib inside it).

    Results come sweep point by sweep point, samplers in the order of the spec; samples and
    posteriors are loaded when they are first asked for. A figure draws what is ``measured`` of
    them and draws samples as samples; it measures nothing.
    """

    @abstractmethod
    def draw(self, results: Sequence[Result]) -> Iterable[Picture]:
        """Pictures, each with a caption and an alternative text."""


def ready_matplotlib() -> None:
    """Import matplotlib, whatever backend a notebook of another environment has set."""
    wanted = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if wanted is None:
        return
    try:
        matplotlib.rcParams["backend"] = wanted
    except ValueError:  # it is not installed here, and figures go to files
        wanted = "agg"
    os.environ["MPLBACKEND"] = wanted
