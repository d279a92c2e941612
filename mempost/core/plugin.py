"""What every plugin is: a frozen recipe of validated hyper-parameters.

A plugin class *is* its hyper-parameters: a frozen pydantic model with its own fields only, real
defaults, constraints, and unknown names refused. It holds no tensors. What it learns lives in
a separate fitted object; what it derives (tables, factorisations) is remembered by its hash.
Tags declare what is true of the plugin; the runner, the validation and the conformance checks
follow them.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from mempost.core.errors import nearest
from mempost.core.numbers import numbers_alone
from mempost.core.publication import Publication

TAGS: dict[str, str] = {
    "exact": "samples the posterior itself, up to Monte-Carlo error",
    "closed_form": "answers without iteration",
    "uses_noise_level": "its result depends on the observation noise level",
    "linear": "a linear (or affine) operator; or a method for linear operators only",
    "complex": "complex-valued data",
    "needs_gradient": "differentiates the forward operator",
    "interacting": "samples depend on one another (resampling, adaptation)",
    "log_density": "the density is available at every noise level",
    "random": "fitting or loading draws random numbers",
}


class Recipe(BaseModel):
    """A frozen set of validated hyper-parameters.

    Unknown names, NaN, and booleans where a number stands are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return numbers_alone(handler(source))

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        allowed = [field.alias or name for name, field in cls.model_fields.items()]
        accepted = {
            *allowed,
            *(cls.model_fields if cls.model_config.get("populate_by_name") else ()),
        }
        unknown = [name for name in data if name not in accepted]
        if unknown:
            message = "Unknown name; allowed are {allowed}.{hint}"
            raise ValidationError.from_exception_data(
                cls.__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError(
                            "unknown_name",
                            message,
                            {
                                "allowed": ", ".join(allowed) or "none",
                                "hint": nearest(str(name), allowed),
                            },
                        ),
                        loc=(str(name),),
                        input=data[name],
                    )
                    for name in unknown
                ],
            )
        return data


class Plugin(Recipe):
    """Base of every kind of plugin."""

    tags: ClassVar[frozenset[str]] = frozenset()
    publications: ClassVar[tuple[Publication, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for tag in cls.tags - TAGS.keys():
            raise TypeError(
                f"{cls.__name__}.tags: unknown tag {tag!r}; allowed are {', '.join(TAGS)}."
                + nearest(tag, TAGS)
            )

    @classmethod
    def summary(cls) -> str:
        """The first line of the class docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]


def _resolve_input(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("folder")
    resolved = path if path.is_absolute() or base is None else Path(base) / path
    try:
        found = resolved.is_file()
    except (OSError, ValueError):  # a name too long, or with a null in it
        found = False
    if not found:
        raise PydanticCustomError("input_file", "No file at {path}", {"path": str(resolved)})
    return resolved.resolve()


InputFile = Annotated[Path, AfterValidator(_resolve_input)]
"""A file that a plugin reads; relative paths start from the folder of the spec.

Its content counts in the id of a run: a file that changes makes its runs run again.
"""
