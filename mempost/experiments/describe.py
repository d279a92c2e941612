"""What ``mempost describe NAME`` prints: documentation, hyper-parameters, tags, publications."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mempost.core.arrays import ArraySchema
from mempost.core.fields import PLUGIN, named
from mempost.core.plugin import TAGS
from mempost.core.registry import REGISTRIES

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def description(kind: str, name: str) -> str:
    """A plugin in plain text."""
    registry = REGISTRIES[kind]
    cls, entry = registry.get(name), registry.entry(name)
    lines = [f"{kind} {name}  ({entry.target}, {entry.distribution} {entry.version})", ""]
    schema = cls.model_json_schema(schema_generator=ArraySchema)
    choices = schema.get("$defs", {})
    for key, field in cls.model_fields.items():
        if isinstance(field.default_factory, named):
            schema["properties"][field.alias or key]["default"] = field.default_factory.value
    lines += [inspect.getdoc(cls) or "", "", "hyper-parameters:", *_fields(schema, choices)]
    for choice in choices.values():
        if label := _name(choice):
            meaning = str(choice.get("description", "")).partition("\n")[0]
            lines += ["", f"{label}: {meaning}", *_fields(choice, choices)]
    lines += ["", "tags:"] + [f"  {tag}: {TAGS[tag]}" for tag in sorted(cls.tags)]
    if not cls.tags:
        lines.append("  none")
    if cls.publications:
        lines += ["", "publications:"]
        lines += [f"  {p.authors} ({p.year}). {p.title}. {p.url}" for p in cls.publications]
    return "\n".join(lines) + "\n"


def _fields(schema: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[str]:
    """A line for every field of a recipe."""
    fields = {k: v for k, v in schema.get("properties", {}).items() if k != "type"}
    for label, field in fields.items():
        default = f"default {field['default']!r}" if "default" in field else "default made anew"
        if label in schema.get("required", ()):
            default = "required"
        meaning = f"  {field['description']}" if "description" in field else ""
        yield f"  {label}: {_type(field, choices)}, {default}{meaning}"
    if not fields:
        yield "  none"


def _name(choice: Mapping[str, Any]) -> str | None:
    """What a spec writes as the ``type`` of a recipe that is one of several."""
    return choice.get("properties", {}).get("type", {}).get("const")


def _type(schema: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """A JSON schema in a few words."""
    options = schema.get("anyOf", schema.get("oneOf"))
    if options is not None:
        names = [_type(option, choices) for option in options if "enum" not in option]
        enums = [e for option in options for e in option.get("enum", ()) if e not in names]
        return " or ".join(dict.fromkeys([*names, *map(repr, enums)]))
    if "enum" in schema:
        return f"one of {schema['enum']}"
    if "const" in schema:
        return repr(schema["const"])
    if PLUGIN in schema:
        return f"a {schema[PLUGIN]}"
    if "$ref" in schema:
        title = str(schema["$ref"]).rpartition("/")[2]
        return _name(choices.get(title, {})) or title
    bounds = [f"{sign} {schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([str(schema.get("type", "any")), *bounds])
