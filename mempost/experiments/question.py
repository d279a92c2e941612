"""What a study asks of its prior: operator, noise, and an observation or the truth behind it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, NonNegativeInt, model_validator

from mempost.core.arrays import Array, Data
from mempost.core.dataset import Dataset
from mempost.core.fields import PluginField
from mempost.core.noise import NoiseRecipe
from mempost.core.operator import ForwardOperator, compose
from mempost.core.plugin import Recipe
from mempost.core.variants import ONE_OF


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


_Operator = Annotated[ForwardOperator, PluginField("operator")]
OperatorList = Annotated[
    Annotated[tuple[_Operator, ...], Field(min_length=1)],
    BeforeValidator(_as_list, json_schema_input_type=_Operator | tuple[_Operator, ...]),
]
"""One operator, or a list applied right to left."""


class Values(Recipe):
    """A truth given by its raw coordinates."""

    type: Literal["values"] = "values"
    values: Array


class HeldOut(Recipe):
    """A held-out example of the dataset."""

    type: Literal["held_out"] = "held_out"
    index: NonNegativeInt = 0


class TrainAverage(Recipe):
    """The average of training examples (of one, that example itself)."""

    type: Literal["train"] = "train"
    indices: tuple[NonNegativeInt, ...] = Field((0,), min_length=1)


class PriorDraw(Recipe):
    """A draw from the prior."""

    type: Literal["prior"] = "prior"
    index: NonNegativeInt = 0


class OtherData(Recipe):
    """A training example of another dataset."""

    type: Literal["dataset"] = "dataset"
    dataset: Annotated[Dataset, PluginField("dataset")]
    index: NonNegativeInt = 0


Truth = Annotated[Values | HeldOut | TrainAverage | PriorDraw | OtherData, ONE_OF]


class Observation(Recipe):
    """Data given as values, or simulated from a truth, if need be with another operator."""

    values: Data | None = Field(None, description="the data; null or NaN is a missing datum")
    truth: Truth | None = None
    operator: OperatorList | None = Field(
        None, description="simulates the data, to avoid the inverse crime"
    )
    missing: Array | None = Field(
        None, description="1 for a missing datum, 0 for others, in the shape of the data"
    )
    noisy: bool = True
    seed: NonNegativeInt | None = Field(
        None, description="of truth and noise; the spec's if not given"
    )

    @model_validator(mode="after")
    def _values_or_truth(self) -> Observation:
        if (self.values is None) == (self.truth is None):
            raise ValueError("give either values or truth")
        if self.values is not None and self.operator is not None:
            raise ValueError("operator simulates data from a truth; values need none")
        if self.missing is not None and not np.isin(self.missing.numpy(), (0, 1)).all():
            raise ValueError("missing: should hold 0 and 1 alone")
        return self


class Question(NamedTuple):
    """Operators F (composed, right to left), noise n and data y = F(x) + n."""

    operators: tuple[ForwardOperator, ...]
    noise: NoiseRecipe
    observation: Observation

    @property
    def operator(self) -> ForwardOperator:
        """F."""
        return _composed(self.operators)

    @property
    def simulator(self) -> ForwardOperator | None:
        """What simulates the data, if it is not F."""
        operators = self.observation.operator
        return None if operators is None else _composed(operators)


def _composed(operators: tuple[ForwardOperator, ...]) -> ForwardOperator:
    return operators[0] if len(operators) == 1 else compose(list(operators))
