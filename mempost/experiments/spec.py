"""The declarative spec of a study, and what one point of its sweep says.

A spec composes plugins by name. It holds no code and no import paths: a plugin is
``{type: NAME, ...hyper-parameters}``, a file is a path relative to the spec.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mempost.core.errors import SpecError, nearest
from mempost.core.fields import PluginField, kind_definitions, resolve_kinds
from mempost.core.figure import Figure
from mempost.core.metric import Metric
from mempost.core.prior import Prior
from mempost.core.sampler import PosteriorSampler
from mempost.experiments.messages import spec_error
from mempost.experiments.setting import Setting

DEFAULT = "default"
Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]


def _by_sampler(value: Any) -> Any:
    return value if isinstance(value, dict) else {DEFAULT: value}


def _with_headers(value: Any) -> Any:
    are_names = isinstance(value, list | tuple) and all(isinstance(c, str) for c in value)
    return {c: c for c in value} if are_names else value


SamplesForm = BeforeValidator(
    _by_sampler, json_schema_input_type=PositiveInt | dict[Key, PositiveInt]
)
TableForm = BeforeValidator(
    _with_headers,
    json_schema_input_type=list[str] | dict[str, str],
)


class Spec(Setting):
    """One point of a study: everything but the sweep."""

    title: str = Field(min_length=1)
    description: str = ""
    priors: dict[Key, Annotated[Prior, PluginField("prior")]] = Field(
        default_factory=dict,
        description="other priors for some of the samplers; data and truth stay those of `prior`",
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
            for name in metric.needs(tuple(self.samplers)):
                known(f"metrics.{i}.reference", name)
        for i, figure in enumerate(self.figures):
            reference = getattr(figure, "reference", None)
            if isinstance(reference, str):
                known(f"figures.{i}.reference", reference)
        if self.data is None and any(p.needs_data for p in (self.prior, *self.priors.values())):
            raise ValueError("the prior is fitted to data, and the spec has no data")
        return self

    @model_validator(mode="after")
    def _question_is_there(self) -> Spec:
        if self.question is not None:
            return self
        nothing = "and nothing is asked (operator, noise, observation)"
        for key, sampler in self.samplers.items():
            if sampler.needs_question:
                raise ValueError(f"samplers.{key} draws given data, {nothing}")
        for i, metric in enumerate(self.metrics):
            if metric.needs_question:
                raise ValueError(f"metrics.{i} measures given data, {nothing}")
        return self

    def under_prior_of(self, key: str) -> Spec:
        """The spec with the prior of a sampler in the place of the common one."""
        return self.model_copy(update={"prior": self.priors.get(key, self.prior), "priors": {}})

    def n_samples(self, key: str) -> int:
        """Number of draws (or chains) of a sampler."""
        return self.samples.get(key, self.samples.get(DEFAULT, 1000))


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


def spec_errors(raw: dict[str, Any], folder: Path | None = None) -> list[ErrorDetails]:
    """What is wrong with a point, error by error; nothing of one that is right."""
    try:
        Spec.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


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
