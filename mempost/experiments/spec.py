"""The declarative spec of a study, and what one point of its sweep says.

A spec composes plugins by name. It holds no code and no import paths: a plugin is
``{type: NAME, ...hyper-parameters}``, a file is a path relative to the spec.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from mempost.core.arrays import Array
from mempost.core.dataset import Dataset
from mempost.core.errors import SpecError, nearest
from mempost.core.fields import PluginField, kind_definitions, resolve_kinds
from mempost.core.figure import Figure
from mempost.core.metric import Metric
from mempost.core.operator import ForwardOperator, compose
from mempost.core.plugin import Recipe
from mempost.core.prior import Prior
from mempost.core.sampler import PosteriorSampler
from mempost.experiments.messages import spec_error

Dtype = Literal["float32", "float64", "complex64", "complex128"]
DEFAULT = "default"


def _device(value: str) -> str:
    if re.fullmatch(r"cpu|cuda(:\d+)?|mps", value) is None:
        raise ValueError("allowed are cpu, cuda, cuda:0 (or another number) and mps")
    return value


Device = Annotated[str, AfterValidator(_device)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _by_sampler(value: Any) -> Any:
    return value if isinstance(value, dict) else {DEFAULT: value}


SamplesForm = BeforeValidator(
    _by_sampler, json_schema_input_type=PositiveInt | dict[Key, PositiveInt]
)
TableForm = BeforeValidator(
    lambda value: {c: c for c in value} if isinstance(value, list | tuple) else value,
    json_schema_input_type=list[str] | dict[str, str],
)
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


Truth = Annotated[
    Values | HeldOut | TrainAverage | PriorDraw | OtherData, Field(discriminator="type")
]


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


class Spec(Recipe):
    """One point of a study: everything but the sweep."""

    title: str = Field(min_length=1)
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    dtype: Dtype = "float64"
    device: Device = "cpu"
    data: Annotated[Dataset, PluginField("dataset")] | None = None
    prior: Annotated[Prior, PluginField("prior")]
    priors: dict[Key, Annotated[Prior, PluginField("prior")]] = Field(
        default_factory=dict,
        description="other priors for some of the samplers; data and truth stay those of `prior`",
    )
    operator: OperatorList
    noise: NoiseSpec
    observation: Observation
    calibration: Calibration | None = Field(
        None, description="draw for many truths; the observation then sets the noise alone"
    )
    samplers: dict[Key, Annotated[PosteriorSampler, PluginField("sampler")]] = Field(min_length=1)
    samples: Annotated[dict[Key, PositiveInt], SamplesForm] = Field(
        {DEFAULT: 1000}, description="draws (or chains): a number, or numbers by sampler"
    )
    metrics: tuple[Annotated[Metric, PluginField("metric")], ...] = ()
    figures: tuple[Annotated[Figure, PluginField("figure")], ...] = ()
    table: Annotated[dict[str, str], TableForm] = Field(
        default_factory=dict,
        description="columns of the short table (table.md, table.tex), with headers if a mapping",
    )

    @model_validator(mode="after")
    def _names_exist(self) -> Spec:
        def known(place: str, name: str, *others: str) -> None:
            allowed = (*self.samplers, *others)
            if name not in allowed:
                raise ValueError(
                    f"{place} names the sampler {name!r}; allowed are {', '.join(allowed)}."
                    + nearest(name, allowed)
                )

        for name in self.samples:
            known("samples", name, DEFAULT)
        for name in self.priors:
            known("priors", name)
        for i, metric in enumerate(self.metrics):
            for name in metric.compares_with:
                known(f"metrics.{i}.reference", name)
        for i, figure in enumerate(self.figures):
            reference = getattr(figure, "reference", None)
            if isinstance(reference, str):
                known(f"figures.{i}.reference", reference)
        if self.data is None and any(p.needs_data for p in (self.prior, *self.priors.values())):
            raise ValueError("the prior is fitted to data, and the spec has no data")
        return self

    def under_prior_of(self, key: str) -> Spec:
        """The spec with the prior of a sampler in the place of the common one."""
        return self.model_copy(update={"prior": self.priors.get(key, self.prior), "priors": {}})

    def n_samples(self, key: str) -> int:
        """Number of draws (or chains) of a sampler."""
        return self.samples.get(key, self.samples.get(DEFAULT, 1000))

    @property
    def real_dtype(self) -> torch.dtype:
        """Precision of the model's coordinates."""
        single = self.dtype in ("float32", "complex64")
        return torch.float32 if single else torch.float64

    @property
    def forward_operator(self) -> ForwardOperator:
        """The composed operator."""
        return self.operator[0] if len(self.operator) == 1 else compose(list(self.operator))


def parse_spec(raw: dict[str, Any], where: str, folder: Path | None = None) -> Spec:
    """Validate one point.

    Args:
        raw: the spec as plain data, or with plugin instances in place of mappings.
        where: what to call the spec in messages.
        folder: where relative paths start.

    Raises:
        SpecError: with one line an error.
    """
    try:
        return Spec.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        raise spec_error(error, where) from None
    except RecursionError:
        raise SpecError(f"{where}: nested too deeply") from None


def spec_schema() -> dict[str, Any]:
    """The JSON schema of a spec file, with every plugin that is installed.

    A file that extends another one holds parts of plugins, and nulls where it removes something: of
    such a file only the names at the top are checked.
    """
    whole = Spec.model_json_schema()
    definitions = whole.pop("$defs", {}) | kind_definitions()
    lists = {"type": ["array", "object"]}
    paths = {"type": "object", "additionalProperties": lists}
    whole["properties"] |= {"sweep": paths, "zip": paths}
    whole["required"] = ["title", "samplers"]  # what else is required may stand in the sweep
    names: dict[str, Any] = {name: {} for name in whole["properties"]} | {
        "extends": {"type": "string"}
    }
    part = {"type": "object", "properties": names, "additionalProperties": False}
    schema = {"$defs": definitions, "if": {"required": ["extends"]}, "then": part, "else": whole}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **resolve_kinds(schema)}
