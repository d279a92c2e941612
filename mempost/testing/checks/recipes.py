"""Checks of what all plugins are: frozen recipes that survive a spec."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import ValidationError

from mempost.core.plugin import Plugin
from mempost.testing.check import Catalogue
from mempost.testing.comparison import require


class RecipeCase(Protocol):
    @property
    def plugin(self) -> Plugin: ...

    @property
    def tags(self) -> frozenset[str]: ...


R = TypeVar("R", bound=RecipeCase)


def config_round_trip(case: RecipeCase) -> None:
    """Hyper-parameters do not survive model_dump and validation, as values or through JSON."""
    plugin, cls = case.plugin, type(case.plugin)
    dumped = cls.model_validate(plugin.model_dump(by_alias=True))
    text = json.dumps(plugin.model_dump(mode="json", by_alias=True))
    for route, copy in (("model_dump", dumped), ("JSON", cls.model_validate(json.loads(text)))):
        require(copy == plugin, f"By {route} it becomes {copy!r}.")
        require(hash(copy) == hash(plugin), f"By {route} the hash changes.")


def hyperparameters_validated(case: RecipeCase) -> None:
    """Unknown names, or NaN where a float is expected, are accepted as hyper-parameters."""
    plugin, cls = case.plugin, type(case.plugin)
    values = plugin.model_dump(by_alias=True)
    wrong: dict[str, float] = {"no_such_name": 0}
    wrong.update({name: float("nan") for name, v in values.items() if isinstance(v, float)})
    for name, value in wrong.items():
        try:
            cls.model_validate({**values, name: value})
        except ValidationError:
            continue
        require(False, f"{name} = {value} was accepted.")


def described(case: RecipeCase) -> None:
    """The class has no one-line summary of its own for `mempost list`."""
    cls = type(case.plugin)
    summary = (cls.__dict__.get("__doc__") or "").strip().partition("\n")[0]
    require(bool(summary), f"{cls.__name__} has no docstring.")
    require(len(summary) <= 100, f"The first docstring line has {len(summary)} characters.")


def add_recipe_checks(catalogue: Catalogue[R]) -> None:
    """Put the checks of every plugin into a catalogue."""
    for function in (config_round_trip, hyperparameters_validated, described):
        catalogue.add()(function)


@dataclass(frozen=True, eq=False)
class PlainCase:
    """A plugin of a kind that has no checks of its own."""

    plugin: Plugin

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags


CHECKS: Catalogue[PlainCase] = Catalogue("guidance or solver", PlainCase)
add_recipe_checks(CHECKS)
