"""Fields that hold a plugin, written ``{type: NAME, ...hyper-parameters}`` in a spec.

This is a discriminated union over the registry that is resolved when a value arrives: only the
plugin that is named gets imported, plugins may contain plugins, and the JSON schema still lists all
of them. An instance is accepted where a mapping is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from mempost.core.arrays import ArraySchema
from mempost.core.errors import PluginError, nearest
from mempost.core.registry import REGISTRIES

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

    from mempost.core.plugin import Plugin

PLUGIN = "x-plugin"
"""JSON schema key that stands for ``$ref: #/$defs/<kind>`` until `resolve_kinds`."""


class PluginField:
    """Pydantic annotation: a plugin of the given kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(self.dump),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {PLUGIN: self.kind}

    def dump(self, plugin: Plugin) -> dict[str, Any]:
        """``{"type": name, **hyper-parameters}`` as JSON values."""
        name = REGISTRIES[self.kind].name_of(type(plugin))
        return {"type": name, **plugin.model_dump(mode="json", by_alias=True)}

    def _validate(self, value: Any, info: ValidationInfo) -> Plugin:
        registry = REGISTRIES[self.kind]
        if isinstance(value, registry.base):
            return value
        if not isinstance(value, dict) or "type" not in value:
            raise PydanticCustomError(
                "plugin",
                "Input should be a mapping with a type; {kind}s are {names}",
                {"kind": self.kind, "names": ", ".join(registry.names)},
            )
        hyper = dict(value)
        name = hyper.pop("type")
        if not isinstance(name, str) or name not in registry.names:
            unknown = PydanticCustomError(
                "plugin_type",
                "No {kind} has this name; allowed are {names}.{hint}",
                {
                    "kind": self.kind,
                    "names": ", ".join(registry.names),
                    "hint": nearest(str(name), registry.names),
                },
            )
            raise ValidationError.from_exception_data(
                self.kind, [InitErrorDetails(type=unknown, loc=("type",), input=name)]
            )
        try:
            cls = registry.get(name)
        except PluginError as error:
            raise PydanticCustomError("plugin_broken", "{why}", {"why": str(error)}) from error
        return cls.model_validate(hyper, context=info.context)


def kind_definitions() -> dict[str, Any]:
    """JSON schema definitions: for each kind, one alternative per working plugin."""
    definitions: dict[str, Any] = {}
    for kind, registry in REGISTRIES.items():
        alternatives: list[dict[str, Any]] = []
        for name in registry.names:
            try:
                schema = registry.get(name).model_json_schema(
                    schema_generator=ArraySchema, ref_template=f"#/$defs/{kind}.{name}.{{model}}"
                )
            except PluginError:
                continue
            for model, inner in schema.pop("$defs", {}).items():
                definitions[f"{kind}.{name}.{model}"] = inner
            schema["properties"] = {"type": {"const": name}, **schema.get("properties", {})}
            schema["required"] = ["type", *schema.get("required", [])]
            alternatives.append(schema)
        definitions[kind] = {"oneOf": alternatives}
    return definitions


def resolve_kinds(schema: Any) -> Any:
    """A JSON schema with plugin fields pointing to the definition of their kind."""
    if isinstance(schema, dict):
        kind = {"$ref": f"#/$defs/{schema[PLUGIN]}"} if PLUGIN in schema else {}
        return {k: resolve_kinds(v) for k, v in schema.items() if k != PLUGIN} | kind
    if isinstance(schema, list):
        return [resolve_kinds(v) for v in schema]
    return schema
