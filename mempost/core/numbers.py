"""What counts as a number in a spec: decimal numbers, and nothing that merely converts to one.

Pydantic takes ``True`` for 1.0, ``"1_000"`` for 1000 and ``"on"`` for true. A recipe refuses them,
as it refuses clock times (``1:30``) and integers in octal or hexadecimal form. A decimal number
within quotes is accepted, since ``1e-3`` is text to many readers of YAML. Integers have at most 64
bits.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
LARGEST = 2**63 - 1

_INSIDE = (
    *("schema", "fields", "items_schema", "keys_schema", "values_schema", "choices"),
    *("lax_schema", "strict_schema", "python_schema", "definitions", "steps"),
)
"""Keys of a pydantic core schema under which other schemas stand."""


def is_number(value: Any) -> bool:
    """Whether a value is a number or the text of one."""
    if isinstance(value, str):
        return FLOAT.fullmatch(value) is not None
    return not isinstance(value, bool | np.bool_) and hasattr(value, "__float__")


def numbers_alone(schema: CoreSchema) -> CoreSchema:
    """A pydantic core schema whose integers, floats and booleans refuse one another."""
    return _strict(schema)


def _strict(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return type(node)(_strict(item) for item in node)
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if not isinstance(kind, str):  # schemas by name or by tag
        return {name: _strict(inner) for name, inner in node.items()}
    if kind in _CHECKS:
        return core_schema.no_info_before_validator_function(_CHECKS[kind], node)
    if _is_checked(node):
        return node
    strict = {**node, **{key: _strict(node[key]) for key in _INSIDE if key in node}}
    if kind == "union":  # errors name a choice by its label
        strict["choices"] = [
            (choice, choice["schema"]["type"]) if _is_checked(choice) else choice
            for choice in strict["choices"]
        ]
    return strict


def _is_checked(node: Any) -> bool:
    before = isinstance(node, dict) and node.get("type") == "function-before"
    return before and node["function"]["function"] in _CHECKS.values()


def _boolean(value: Any) -> Any:
    if not isinstance(value, bool | np.bool_):
        raise PydanticKnownError("bool_type")
    return bool(value)


def _integer(value: Any) -> Any:
    if not is_number(value):
        raise PydanticKnownError("int_type")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise PydanticCustomError("int_size", "Input should be an integer of at most 64 bits")
    return value


def _float(value: Any) -> Any:
    if not is_number(value):
        raise PydanticKnownError("float_type")
    return value


_CHECKS = {"bool": _boolean, "int": _integer, "float": _float}
