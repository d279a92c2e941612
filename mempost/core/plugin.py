"""What every plugin is: a frozen recipe of validated hyper-parameters.

A plugin class *is* its hyper-parameters: a frozen pydantic model with its own fields only, real
defaults, constraints, and unknown names refused. It holds no tensors. What it learns lives in
a separate fitted object; what it derives (tables, factorisations) is remembered by its hash.
What is true of a plugin its tags say (`mempost.core.tags`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

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
from mempost.core.tags import DeclaredTags, Tag


class Recipe(BaseModel):
    """A frozen set of validated hyper-parameters.

    Unknown names, NaN, and booleans where a number stands are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    retired: ClassVar[Mapping[str, str]] = {}
    """Words of older specs, each with what is written instead; they are refused."""

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
                                "hint": f" It is now {cls.retired[name]}."
                                if name in cls.retired
                                else nearest(str(name), allowed),
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

    if TYPE_CHECKING:
        tags: ClassVar[frozenset[Tag]]
    else:
        tags: ClassVar = DeclaredTags("Plugin", ())
    publications: ClassVar[tuple[Publication, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "tags" in vars(cls):
            type.__setattr__(cls, "tags", DeclaredTags(cls.__name__, vars(cls)["tags"]))

    def _tags(self) -> frozenset[Tag]:
        """What is true of this instance: what its class declares, amended by hyper-parameters."""
        return type(self).tags

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
