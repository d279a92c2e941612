"""What a point of a study says of its inverse problem, apart from who solves it.

The code that makes data, truth and noise reads these recipes alone: what a spec says besides
(samplers, metrics, figures, tables) cannot change them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from mempost.core.arrays import Array
from mempost.core.dataset import Dataset
from mempost.core.fields import PluginField
from mempost.core.operator import ForwardOperator, compose
from mempost.core.plugin import Recipe
from mempost.core.prior import Prior
from mempost.core.variants import ONE_OF

Dtype = Literal["float32", "float64", "complex64", "complex128"]


def _device(value: str) -> str:
    if re.fullmatch(r"cpu|cuda(:\d+)?|mps", value) is None:
        raise ValueError("allowed are cpu, cuda, cuda:0 (or another number) and mps")
    return value


Device = Annotated[str, AfterValidator(_device)]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


_Operator = Annotated[ForwardOperator, PluginField("operator")]
OperatorList = Annotated[
    Annotated[tuple[_Operator, ...], Field(min_length=1)],
    BeforeValidator(_as_list, json_schema_input_type=_Operator | tuple[_Operator, ...]),
]
"""One operator, or a list applied right to left."""


class NoiseSpec(Recipe):
    """Gaussian observation noise: a standard deviation, or a fraction of the data's maximum."""

    std: float | None = Field(None, gt=0)
    relative_to_max: float | None = Field(None, gt=0)
    complex: bool | None = Field(None, description="as the operator's values, if not given")

    @model_validator(mode="after")
    def _one_of_two(self) -> NoiseSpec:
        if (self.std is None) == (self.relative_to_max is None):
            raise ValueError("give either std or relative_to_max")
        return self


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


class Calibration(Recipe):
    """Many truths instead of one: data are simulated from each, and its posterior is drawn from."""

    truths: PositiveInt = 1000
    source: Literal["prior", "held_out", "train"] = Field(
        "prior", description="draws of the prior, or examples from the first on"
    )


Truth = Annotated[Values | HeldOut | TrainAverage | PriorDraw | OtherData, ONE_OF]


class Observation(Recipe):
    """Data given as values, or simulated from a truth, if need be with another operator."""

    values: Array | None = None
    truth: Truth | None = None
    operator: OperatorList | None = Field(
        None, description="simulates the data, to avoid the inverse crime"
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
        return self


class Setting(Recipe):
    """Data, prior, operator, noise and observation, in one precision on one device."""

    seed: int = Field(0, ge=0, lt=2**63)
    dtype: Dtype = "float64"
    device: Device = "cpu"
    data: Annotated[Dataset, PluginField("dataset")] | None = None
    prior: Annotated[Prior, PluginField("prior")]
    operator: OperatorList
    noise: NoiseSpec
    observation: Observation
    calibration: Calibration | None = Field(
        None, description="draw for many truths; the observation then sets the noise alone"
    )

    @property
    def real_dtype(self) -> torch.dtype:
        """Precision of the model's coordinates."""
        single = self.dtype in ("float32", "complex64")
        return torch.float32 if single else torch.float64

    @property
    def forward_operator(self) -> ForwardOperator:
        """The composed operator."""
        return self.operator[0] if len(self.operator) == 1 else compose(list(self.operator))
