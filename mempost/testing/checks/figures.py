"""Checks of figures: they draw, say in words what is seen, and leave what they draw as it is."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np

from mempost.core.errors import MempostError
from mempost.core.figure import Figure, Picture, ready_matplotlib
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.testing.artists import drawn_in, drawn_numbers
from mempost.testing.check import Catalogue, CheckFailedError
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import require, require_equal
from mempost.testing.measurements import Recorded, altered, is_altered, with_measured
from mempost.testing.randomness import twice_under_global_seeds
from mempost.testing.studies import STUDIES, example_results

DPI = 40


@dataclass(frozen=True, eq=False)
class FigureCase:
    """A figure, metrics whose measurements it draws, and results where the examples do not suit."""

    plugin: Figure
    given_results: Sequence[Result] | None = None
    metrics: Sequence[Metric] = ()

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @property
    def drawn(self) -> tuple[list[Result], list[Picture]]:
        """The first results that are not refused, and the pictures of them."""
        return _drawn(self)


@lru_cache(maxsize=1)
def _drawn(case: FigureCase) -> tuple[list[Result], list[Picture]]:
    """Of one case at a time, since pictures are large."""
    ready_matplotlib()
    if case.given_results is not None:
        return list(case.given_results), list(case.plugin.draw(case.given_results))
    refused = []
    for study in STUDIES:
        try:
            results = example_results(study, case.metrics)
            return results, list(case.plugin.draw(results))
        except MempostError as error:
            refused.append(str(error))
    raise CheckFailedError(f"It refuses every example ({refused[0]}): give results=.")


CHECKS: Catalogue[FigureCase] = Catalogue("figure", FigureCase)
add_recipe_checks(CHECKS)


@CHECKS.add()
def draws(case: FigureCase) -> None:
    """It fails on results that it should draw, draws nothing, or nothing that can be saved."""
    pictures = case.drawn[1]
    require(len(pictures) > 0, "It draws nothing, and does not say why.")
    for picture in pictures:
        found = type(picture).__name__
        require(isinstance(picture, Picture), f"draw yields a {found}, and no mempost.Picture.")
    pictures[0].canvas.savefig(io.BytesIO(), format="png", dpi=DPI)


@CHECKS.add()
def said_in_words(case: FigureCase) -> None:
    """A picture has no plain file stem of its own, no caption, or no alternative text."""
    stems = [picture.stem for picture in case.drawn[1]]
    require(len(set(stems)) == len(stems), f"Stems repeat: {', '.join(stems)}.")
    for picture in case.drawn[1]:
        require(re.fullmatch(r"[A-Za-z0-9_-]+", picture.stem) is not None, f"{picture.stem!r}?")
        for what, text in (("caption", picture.caption), ("alternative text", picture.alt)):
            require(len(text.split()) >= 3, f"The {what} of {picture.stem} is {text!r}.")


@CHECKS.add()
def global_random_state(case: FigureCase) -> None:
    """The picture depends on a global random generator, or drawing uses one."""
    results = case.drawn[0]

    def drawn() -> list[np.ndarray]:
        return drawn_numbers(next(iter(case.plugin.draw(results))).canvas)

    first, second = twice_under_global_seeds(drawn)
    same = len(first) == len(second) and all(map(_same, first, second))
    require(same, "A second time other numbers are drawn.")


@CHECKS.add()
def arguments_kept(case: FigureCase) -> None:
    """Drawing writes into the draws or into what was measured."""
    results = case.drawn[0]
    before = [
        (result.samples.values.clone(), {k: v.copy(deep=True) for k, v in result.measured.items()})
        for result in results
    ]
    list(case.plugin.draw(results))
    for result, (values, measured) in zip(results, before, strict=True):
        require_equal(result.samples.values, values, "Draws after drawing")
        require(result.measured.keys() == measured.keys(), "Measurements are added or taken away.")
        for name, array in measured.items():
            require(result.measured[name].identical(array), f"{name} is another after drawing.")


@CHECKS.add()
def measurements_drawn(case: FigureCase) -> None:
    """What it reads of the measurements it does not draw: the picture shows other numbers."""
    results = case.drawn[0]
    read: set[str] = set()
    recorded = [with_measured(result, Recorded(result.measured, read)) for result in results]
    shown = [drawn_in(picture) for picture in case.plugin.draw(recorded)]
    for name in sorted(read):
        other = [with_measured(r, altered(r.measured, name)) for r in results]
        if not any(is_altered(r.measured, o.measured, name) for r, o in zip(results, other)):
            continue
        try:
            pairs = zip_longest(map(drawn_in, case.plugin.draw(other)), shown)
            same = all(drawn == before for drawn, before in pairs)
        except MempostError:
            continue
        require(not same, f"It reads {name!r}; another value of it changes nothing in the picture.")


@CHECKS.add()
def says_what_is_missing(case: FigureCase) -> None:
    """Where nothing was measured it fails without a `PluginError` that says what to add."""
    bare = [with_measured(result, {}) for result in case.drawn[0]]
    try:
        list(case.plugin.draw(bare))
    except MempostError as error:
        require("\n" not in str(error) and bool(str(error)), "The reason is not one line.")


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool(np.array_equal(first, second, equal_nan=True))
