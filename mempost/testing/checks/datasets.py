"""Checks of datasets: nested training sets, disjoint held-out sets, determinism."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from mempost.core.dataset import Data, Dataset
from mempost.core.streams import Streams
from mempost.testing.check import Catalogue, CheckFailedError, NotApplicable
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import require, require_equal
from mempost.testing.randomness import twice_under_global_seeds


@dataclass(frozen=True, eq=False)
class DatasetCase:
    """A dataset, and the name of the field that holds the number of training examples."""

    plugin: Dataset
    size_field: str = "n_train"

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def data(self) -> Data:
        return self.load()

    def load(self, seed: int = 0, dataset: Dataset | None = None) -> Data:
        return (dataset or self.plugin).load(Streams(seed, "data"))


CHECKS: Catalogue[DatasetCase] = Catalogue("dataset", DatasetCase)


add_recipe_checks(CHECKS)


@CHECKS.add()
def shapes(case: DatasetCase) -> None:
    """Examples are not float64 arrays on the CPU, or held-out ones have another shape."""
    for name, part in (("train", case.data.train), ("held_out", case.data.held_out)):
        require(part.dtype == torch.float64, f"{name} is {part.dtype}.")
        require(part.device.type == "cpu", f"{name} lies on {part.device}.")
        require(part.ndim >= 2, f"{name} has shape {tuple(part.shape)}, expected (n, *shape).")
    train, held_out = case.data.train, case.data.held_out
    require(len(train) >= 1, "There is no training example.")
    require(
        train.shape[1:] == held_out.shape[1:],
        f"Shapes are {tuple(train.shape[1:])} and {tuple(held_out.shape[1:])}.",
    )


@CHECKS.add()
def finite(case: DatasetCase) -> None:
    """Examples hold NaN or infinite numbers."""
    for name, part in (("train", case.data.train), ("held_out", case.data.held_out)):
        bad = (~torch.isfinite(part)).flatten(1).any(-1).nonzero().flatten()
        require(len(bad) == 0, f"{name}[{int(bad[0]) if len(bad) else 0}] is not finite.")


@CHECKS.add()
def held_out_disjoint(case: DatasetCase) -> None:
    """A held-out example is also a training example, so that the control is no control."""
    train, held_out = case.data.train.flatten(1), case.data.held_out.flatten(1)
    if len(held_out) == 0:
        raise NotApplicable("there are no held-out examples")
    rows = {row.numpy().tobytes(): i for i, row in enumerate(train)}
    for j, row in enumerate(held_out):
        i = rows.get(row.numpy().tobytes())
        require(i is None, f"held_out[{j}] equals train[{i}].")


@CHECKS.add()
def seed_determinism(case: DatasetCase) -> None:
    """One seed gives two datasets, or (without the tag `random`) two seeds do."""
    again = case.load(seed=0)
    require_equal(again.train, case.data.train, "Training examples loaded twice")
    require_equal(again.held_out, case.data.held_out, "Held-out examples loaded twice")
    other = case.load(seed=1)
    same = torch.equal(other.train, case.data.train) and torch.equal(
        other.held_out, case.data.held_out
    )
    random = "random" in case.tags
    require(same != random, f"Two seeds give {'equal' if same else 'different'} examples.")


@CHECKS.add()
def global_random_state(case: DatasetCase) -> None:
    """Examples depend on a global random generator, or loading uses one."""
    first, second = twice_under_global_seeds(lambda: case.load(seed=0))
    require_equal(first.train, second.train, "Training examples under two global seeds")
    require_equal(first.held_out, second.held_out, "Held-out examples under two global seeds")


@CHECKS.add()
def nestedness(case: DatasetCase) -> None:
    """The first N training examples depend on N, so that a sweep over N changes the data too."""
    name, n = case.size_field, len(case.data.train)
    if name not in type(case.plugin).model_fields or n < 2:
        raise NotApplicable(f"the dataset has no field {name!r} to make smaller")
    values = {**case.plugin.model_dump(by_alias=True), name: n // 2}
    smaller = case.load(dataset=type(case.plugin).model_validate(values))
    if len(smaller.train) != n // 2:
        raise CheckFailedError(f"{name} = {n // 2} gives {len(smaller.train)} training examples.")
    require_equal(smaller.train, case.data.train[: n // 2], f"The first {n // 2} examples")
    require_equal(smaller.held_out, case.data.held_out, f"Held-out examples for {n // 2} and {n}")
