"""Fields that hold a plugin.

    schedule: {type: vp, beta_max: 10}      a name with hyper-parameters
    schedule: vp                            a name alone

    schedule: Annotated[NoiseSchedule, PluginField("schedule")] = Field(
        default_factory=named("schedule", "vp")
    )

This is a discriminated union over the registry that is resolved when a value arrives: only the
plugin that is named gets imported, plugins may contain plugins, and the JSON schema still lists all
of them. In Python an instance is accepted, too, and a class for its defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from mempost.core.arrays import ArraySchema
from mempost.core.errors import PluginError, nearest
from mempost.core.registry import KINDS, REGISTRIES

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
            lambda value, info: self.make(value, info.context),
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

    def make(self, value: Any, context: Any = None) -> Any:
        """The plugin that a value stands for.

        Args:
            value: an instance, a class, a name, or a mapping ``{"type": name, ...}``.
            context: what validation passes on, such as the folder of the spec.

        Raises:
            PydanticCustomError, ValidationError: the value stands for none.
        """
        registry = REGISTRIES[self.kind]
        if isinstance(value, registry.base):
            return value
        try:
            if isinstance(value, type):
                cls = registry.require(value, value.__name__)
                return cls.model_validate({}, context=context)
            hyper = {"type": value} if isinstance(value, str) else value
            if isinstance(value, Mapping) and KINDS[self.kind].default is not None:
                hyper = {"type": KINDS[self.kind].default, **value}
            if not isinstance(hyper, Mapping) or "type" not in hyper:
                raise PydanticCustomError(
                    "plugin",
                    "Input should be a name, or a mapping with a type; {plural} are {names}",
                    {"plural": registry.plural, "names": ", ".join(registry.names)},
                )
            cls = registry.get(self._name(hyper["type"], in_mapping=not isinstance(value, str)))
        except PluginError as error:
            raise PydanticCustomError("plugin_broken", "{why}", {"why": str(error)}) from error
        hyper = {name: v for name, v in hyper.items() if name != "type"}
        return cls.model_validate(hyper, context=context)

    def _name(self, name: Any, in_mapping: bool) -> str:
        """The name, if it is registered; else the error stands at the mapping's ``type``."""
        names = REGISTRIES[self.kind].names
        if isinstance(name, str) and name in names:
            return name
        unknown = PydanticCustomError(
            "plugin_type",
            "No {kind} has this name; allowed are {names}.{hint}",
            {"kind": self.kind, "names": ", ".join(names), "hint": nearest(str(name), names)},
        )
        if not in_mapping:
            raise unknown
        raise ValidationError.from_exception_data(
            self.kind, [InitErrorDetails(type=unknown, loc=("type",), input=name)]
        )


@dataclass(frozen=True)
class named:  # noqa: N801  used as a function
    """A default by name: ``Field(default_factory=named("schedule", "vp"))``.

    The registry is asked when the default is needed, so that core names plugins and imports none.

    Attributes:
        kind: the kind of plugin.
        value: a name, or a mapping ``{"type": name, ...}``.
    """

    kind: str
    value: str | Mapping[str, Any]

    def __call__(self) -> Any:
        return PluginField(self.kind).make(self.value)


def kind_definitions() -> dict[str, Any]:
    """JSON schema definitions: for each kind, one alternative per working plugin.

    Those without required hyper-parameters may be named alone; the ``type`` of a kind's default may
    be left out.
    """
    definitions: dict[str, Any] = {}
    for kind, registry in REGISTRIES.items():
        alternatives: list[dict[str, Any]] = []
        bare: list[str] = []
        for name in registry.names:
            try:
                schema = registry.get(name).model_json_schema(
                    schema_generator=ArraySchema, ref_template=f"#/$defs/{kind}.{name}.{{model}}"
                )
            except PluginError:
                continue
            for model, inner in schema.pop("$defs", {}).items():
                definitions[f"{kind}.{name}.{model}"] = inner
            if not schema.get("required"):
                bare.append(name)
            schema["properties"] = {"type": {"const": name}, **schema.get("properties", {})}
            needed = [] if name == KINDS[kind].default else ["type"]
            schema["required"] = [*needed, *schema.get("required", [])]
            alternatives.append(schema)
        definitions[kind] = {"oneOf": [{"enum": bare}, *alternatives] if bare else alternatives}
    return definitions


def resolve_kinds(schema: Any) -> Any:
    """A JSON schema with plugin fields pointing to the definition of their kind."""
    if isinstance(schema, dict):
        kind = {"$ref": f"#/$defs/{schema[PLUGIN]}"} if PLUGIN in schema else {}
        return {k: resolve_kinds(v) for k, v in schema.items() if k != PLUGIN} | kind
    if isinstance(schema, list):
        return [resolve_kinds(v) for v in schema]
    return schema
