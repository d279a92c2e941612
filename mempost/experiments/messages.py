"""Validation errors as lines that say where, what is allowed and what was found."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mempost.core.errors import SpecError, nearest, shown

MOST, LONG = 5, 60
_QUOTED = re.compile(r"'([^']*)'")


def spec_error(error: ValidationError, where: str) -> SpecError:
    """The first few errors, one line each, as a `SpecError`."""
    details = error.errors(include_url=False)
    lines = [f"{where}: {line_of(d)}" for d in details[:MOST]]
    if len(details) > MOST:
        lines.append(f"{where}: and {len(details) - MOST} more")
    return SpecError("\n".join(lines))


def line_of(detail: ErrorDetails) -> str:
    """One error: where, what is allowed, what was found."""
    place = ".".join(str(part) for part in detail["loc"]) or "spec"
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    message = _QUOTED.sub(_shortened, message)
    if detail["type"] == "missing":
        return f"{place}: missing; it is required here"
    if detail["type"] == "plugin_broken" or not detail["loc"]:
        return f"{place}: {message}"
    return f"{place}: {message}{_hint(detail)} (found {shown(detail['input'])})"


def _shortened(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[1]) < LONG else shown(quoted[1])


def _hint(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    allowed = re.findall(
        r"'([^']*)'", str(context.get("expected", context.get("expected_tags", "")))
    )
    found = context.get("tag", detail["input"])
    if not allowed or not isinstance(found, str):
        return ""
    return "." + nearest(found, allowed) if nearest(found, allowed) else ""
