"""What ``mempost describe NAME`` prints: documentation, hyper-parameters, tags, publications."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mempost.core.arrays import ArraySchema
from mempost.core.fields import PLUGIN, named
from mempost.core.plugin import Plugin
from mempost.core.registry import REGISTRIES
from mempost.core.tags import TAGS

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
    lines += ["", *_tags(cls)]
    if cls.publications:
        lines += ["", "publications:"]
        lines += [f"  {p.authors} ({p.year}). {p.title}. {p.url}" for p in cls.publications]
    return "\n".join(lines) + "\n"


def _tags(cls: type[Plugin]) -> Iterator[str]:
    """A line for every tag of the default instance."""
    amended = cls._tags is not Plugin._tags
    yield "tags of the defaults (hyper-parameters may change them):" if amended else "tags:"
    plugin = _default(cls) if amended else None
    tags = cls.tags if plugin is None else plugin.tags
    yield from [f"  {tag}: {TAGS[tag]}" for tag in sorted(tags)] or ["  none"]


def _default(cls: type[Plugin]) -> Plugin | None:
    """The plugin with its defaults, and the first example of what is required; None without one."""
    required = {f.alias or key: f for key, f in cls.model_fields.items() if f.is_required()}
    if not all(field.examples for field in required.values()):
        return None
    return cls.model_validate({k: f.examples[0] for k, f in required.items() if f.examples})


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
