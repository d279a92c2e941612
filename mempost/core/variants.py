"""Hyper-parameters that are one of a closed list of recipes, written in full or by name.

    backend: {type: batched, refinement: 0}      a recipe with its own hyper-parameters
    backend: batched                             a recipe with its defaults

Every recipe has a field ``type`` with one literal value, and the hyper-parameter is annotated

    Backend = Annotated[SuperLU | Pardiso | Batched, ONE_OF]

A list that others should be able to lengthen is a kind of plugin instead (`mempost.core.fields`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


class _OneOf:
    """Pydantic annotation of a union of recipes."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        recipes = get_args(source)
        names = [
            recipe.model_fields["type"].default
            for recipe in recipes
            if not any(field.is_required() for field in recipe.model_fields.values())
        ]
        in_full = map(handler.generate_schema, recipes)
        written = core_schema.union_schema([core_schema.literal_schema(names), *in_full])
        return core_schema.no_info_before_validator_function(
            by_name,
            handler.generate_schema(Annotated[source, Field(discriminator="type")]),
            json_schema_input_schema=written if names else None,
        )


ONE_OF = _OneOf()


def by_name(value: Any) -> Any:
    """A bare name as the mapping ``{"type": name}``; anything else as it is."""
    return {"type": value} if isinstance(value, str) else value
