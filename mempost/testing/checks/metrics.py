"""Checks of metrics: numbers from what they say they need, and verdicts from the numbers."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from mempost.core.errors import MempostError
from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.posterior import Posterior
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.testing.check import Catalogue, CheckFailedError, NotApplicable
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import require, require_equal
from mempost.testing.randomness import twice_under_global_seeds
from mempost.testing.studies import example_results, studies_with, subject_of


@dataclass(frozen=True, eq=False)
class MetricCase:
    """A metric, and results where those of the example studies do not suit it."""

    plugin: Metric
    given_results: Sequence[Result] | None = None

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def results(self) -> list[Result]:
        """The results that are given; else the first sweep point of every study that suits."""
        if self.given_results is not None:
            return list(self.given_results)
        found = []
        for study in studies_with(self.plugin.needs(())):
            every = example_results(study)
            found += [result for result in every if result.point == every[0].point]
        if not found:
            needed = ", ".join(self.plugin.needs(()))
            raise CheckFailedError(f"No example has the samplers {needed}: give results=.")
        return found

    @cached_property
    def measured(self) -> list[tuple[Result, Measured]]:
        """What was measured of every result that is not refused."""
        found, refused = [], None
        for result in self.results:
            try:
                found.append((result, self.evaluate(result)))
            except MempostError as error:
                refused = error
        if not found:
            raise CheckFailedError(f"It refuses every example ({refused}): give results=.")
        return found

    def evaluate(self, result: Result) -> Measured:
        """What is measured of a result."""
        measured = self.plugin.evaluate(subject_of(self.plugin, result))
        require(
            isinstance(measured, Measured),
            f"It gives a {type(measured).__name__}; return mempost.Measured({{...}}).",
        )
        return measured

    @cached_property
    def example(self) -> tuple[Result, Measured]:
        """The first result that it has something to say of."""
        for result, measured in self.measured:
            if measured:
                return result, measured
        raise NotApplicable("it has no number for any example; give results=")


CHECKS: Catalogue[MetricCase] = Catalogue("metric", MetricCase)
add_recipe_checks(CHECKS)


@CHECKS.add()
def evaluates(case: MetricCase) -> None:
    """It fails on results that it should measure or leave alone, or gives no `Measured`."""
    require(len(case.measured) > 0, "Nothing was measured.")


@CHECKS.add()
def columns_plain(case: MetricCase) -> None:
    """Columns of the table have names that no table can hold, or two variables share one."""
    for _, measured in case.measured:
        for name in measured.columns:
            require(re.fullmatch(r"[A-Za-z0-9_.+-]+", name) is not None, f"{name!r} is a column.")


@CHECKS.add()
def seed_determinism(case: MetricCase) -> None:
    """The same result is measured twice with two outcomes: randomness is not `result.streams`."""
    result, measured = case.example
    require(case.evaluate(result) == measured, "A second time other numbers are measured.")


@CHECKS.add()
def global_random_state(case: MetricCase) -> None:
    """What is measured depends on a global random generator, or measuring uses one."""
    first, second = twice_under_global_seeds(lambda: case.evaluate(case.example[0]))
    require(first == second, "Under two global seeds other numbers are measured.")


@CHECKS.add()
def arguments_kept(case: MetricCase) -> None:
    """Measuring writes into the draws or the data."""
    result = case.example[0]
    before = _tensors(result)
    case.evaluate(result)
    for name, tensor in _tensors(result).items():
        require_equal(tensor, before[name], f"{name} after measuring")


@CHECKS.add()
def needs_declared(case: MetricCase) -> None:
    """It asks for a sampler that `needs` does not name, so that changes of it go unnoticed."""
    if case.plugin.subject != "run":
        raise NotApplicable("it is given what it needs, and nothing else")
    for found, _ in [pair for pair in case.measured if pair[1]][:2]:  # one may be the reference
        result = copy.copy(found)
        allowed = {*case.plugin.needs(tuple(result.siblings)), result.key}
        result.siblings = _Only(result.siblings, allowed)
        case.evaluate(result)


@CHECKS.add()
def verdict_of_measurements(case: MetricCase) -> None:
    """The verdict is not made of what was measured, or fails where nothing was measured."""
    sealed = [_Sealed.of(result, measured) for result, measured in case.measured]
    said = case.plugin.verdict(sealed)
    require(
        isinstance(said, list) and all(isinstance(line, str) and line for line in said),
        f"It says {said!r}; a list of sentences is allowed.",
    )
    silent = case.plugin.verdict([_Sealed.of(result, {}) for result, _ in case.measured])
    require(silent == [], f"Of results that were not measured it says {silent!r}.")


def _tensors(result: Result) -> dict[str, torch.Tensor]:
    samples, data = result.samples, result.data
    found = {"draws": samples.values, "y": result.problem.prior.coordinates.location}
    found |= {f"stats.{name}": value for name, value in samples.stats.items()}
    if data is not None:
        found |= {"training examples": data.train, "held-out examples": data.held_out}
    if result.problem.question is not None:
        found["y"] = result.problem.y
    return {name: tensor.clone() for name, tensor in found.items()}


class _Only(Mapping[str, Result]):
    """Siblings, of which only some may be asked for."""

    def __init__(self, results: Mapping[str, Result], allowed: set[str]) -> None:
        self._results, self._allowed = results, allowed

    def __getitem__(self, key: str) -> Result:
        require(key in self._allowed, f"It asks for the sampler {key!r}.")
        return self._results[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


class _Sealed(Result):
    """A result with what was measured of it, and without draws and posterior."""

    @classmethod
    def of(cls, result: Result, measured: Mapping[str, object]) -> _Sealed:
        sealed = cls(**{name: getattr(result, name) for name in Result.__dataclass_fields__})
        sealed.measured = dict(measured)  # type: ignore[arg-type]
        return sealed

    @property
    def samples(self) -> Samples:
        raise CheckFailedError("It reads the draws.")

    @property
    def posterior(self) -> Posterior | None:
        raise CheckFailedError("It reads the posterior.")
