"""What ``mempost describe NAME`` prints: documentation, hyper-parameters, tags, references."""

from __future__ import annotations

import inspect

from pydantic_core import PydanticUndefined

from mempost.core.arrays import ArraySchema
from mempost.core.plugin import TAGS
from mempost.core.reference import PLUGIN
from mempost.core.registry import REGISTRIES


def description(kind: str, name: str) -> str:
    """A plugin in plain text."""
    registry = REGISTRIES[kind]
    cls, entry = registry.get(name), registry.entry(name)
    lines = [f"{kind} {name}  ({entry.target}, {entry.distribution} {entry.version})", ""]
    lines += [inspect.getdoc(cls) or "", "", "hyper-parameters:"]
    properties = cls.model_json_schema(schema_generator=ArraySchema)["properties"]
    for field_name, field in cls.model_fields.items():
        label = field.alias or field_name
        default = "required" if field.default is PydanticUndefined else f"default {field.default!r}"
        if field.default is PydanticUndefined and field.default_factory is not None:
            default = "default made anew"
        meaning = f"  {field.description}" if field.description else ""
        lines.append(f"  {label}: {_type(properties.get(label, {}))}, {default}{meaning}")
    if not cls.model_fields:
        lines.append("  none")
    lines += ["", "tags:"] + [f"  {tag}: {TAGS[tag]}" for tag in sorted(cls.tags)]
    if not cls.tags:
        lines.append("  none")
    if cls.references:
        lines += ["", "references:"]
        lines += [f"  {r.authors} ({r.year}). {r.title}. {r.url}" for r in cls.references]
    return "\n".join(lines) + "\n"


def _type(schema: dict[str, object]) -> str:
    """A JSON schema in a few words."""
    words: list[str] = []
    if "anyOf" in schema or "oneOf" in schema:
        options = schema.get("anyOf", schema.get("oneOf"))
        assert isinstance(options, list)
        return " or ".join(dict.fromkeys(_type(o) for o in options))
    if "enum" in schema:
        return f"one of {schema['enum']}"
    if "const" in schema:
        return repr(schema["const"])
    if PLUGIN in schema:
        return f"a {schema[PLUGIN]}"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    words.append(str(schema.get("type", "any")))
    bounds = {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
    }
    words += [f"{sign} {schema[key]}" for key, sign in bounds.items() if key in schema]
    return " ".join(words)
