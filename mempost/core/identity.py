"""What determines a result: hyper-parameters, the code that uses them, and the files they name.

Results are found again by a hash of all three. Of the code, the version of every distribution
counts, and the source: of mempost the modules that define the recipes, of other packages all. A
package that is installed for editing, or a class in a notebook, changes without its version. A
file counts by its content, so that a project may move.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from pydantic import BaseModel

from mempost.core.errors import PluginError
from mempost.core.plugin import Plugin, Recipe
from mempost.core.registry import REGISTRIES

LIBRARIES = ("mempost", "torch", "numpy", "scipy")
_WITHOUT_SOURCE = ("mempost.core.", "mempost.experiments.")
"""Bases and spec fields from here count by mempost's version alone."""


def digest(dumped: Any, parts: Any) -> str:
    """Hash (64 digits) of what was dumped of recipes, with the code and the files of ``parts``."""
    files = file_hashes(parts)
    payload = {
        "dumped": _with_contents(dumped, files),
        "files": sorted(files.values()),
        "types": [_qualified(type(recipe)) for recipe in recipes_in(parts)],
        "sources": sources(parts),
        "versions": versions(parts),
    }
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def recipes_in(parts: Any) -> Iterator[BaseModel]:
    """Every recipe in lists, mappings and recipes, in order."""
    return (value for value in _walk(parts) if isinstance(value, BaseModel))


def plugins_in(parts: Any) -> Iterator[Plugin]:
    """Every plugin in lists, mappings and recipes, in order."""
    return (value for value in _walk(parts) if isinstance(value, Plugin))


def file_hashes(parts: Any) -> dict[str, str]:
    """sha256 of every file that recipes read (their `Path` fields), by path."""
    paths = {value for value in _walk(parts) if isinstance(value, Path)}
    return {str(path): sha256_of(path) for path in sorted(paths)}


def versions(parts: Any) -> dict[str, str]:
    """Version of every distribution that the plugins come from, and of the numerical libraries."""
    found = dict(_library_versions())
    for plugin in plugins_in(parts):
        found.update([_distribution(type(plugin))])
    return dict(sorted(found.items()))


def sources(parts: Any) -> dict[str, str]:
    """sha256 of the source that defines the recipes and their bases, by module or package."""
    found: dict[str, str] = {}
    for kind in {type(recipe) for recipe in recipes_in(parts)}:
        for cls in kind.__mro__:
            if issubclass(cls, Recipe) and not cls.__module__.startswith(_WITHOUT_SOURCE):
                found.update([_source(cls)])
    return found


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; a file that did not change is read once."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@functools.lru_cache(4096)
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _walk(value: Any) -> Iterator[Any]:
    """A value and everything inside it, in order."""
    yield value
    inside: Any = ()
    if isinstance(value, BaseModel):
        inside = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    for item in inside:
        yield from _walk(item)


def _with_contents(dumped: Any, files: Mapping[str, str]) -> Any:
    """Dumped data with the hash of its content in place of every file's path."""
    if isinstance(dumped, Mapping):
        return {key: _with_contents(value, files) for key, value in dumped.items()}
    if isinstance(dumped, list | tuple):
        return [_with_contents(value, files) for value in dumped]
    return files.get(dumped, dumped) if isinstance(dumped, str) else dumped


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _source(cls: type) -> tuple[str, str]:
    """What holds a class, with a hash: its module, or all of the package if it is not mempost's.

    Of a class in a script or a notebook it is the code of the class itself.
    """
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if path is not None and cls.__module__ != "__main__":
        top = cls.__module__.partition(".")[0]
        init = getattr(sys.modules[top], "__file__", None)
        if top == "mempost" or init is None or Path(init).name != "__init__.py":
            return cls.__module__, sha256_of(Path(path))
        modules = sorted(Path(init).parent.rglob("*.py"))
        return top, hashlib.sha256("".join(map(sha256_of, modules)).encode()).hexdigest()
    code = []
    for name, member in vars(cls).items():  # methods, class methods and properties
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if hasattr(function, "__code__"):
            code.append((name, type(member).__name__, _instructions(function.__code__)))
    return _qualified(cls), hashlib.sha256(repr(code).encode()).hexdigest()


def _instructions(code: CodeType) -> tuple[Any, ...]:
    constants = [_instructions(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.co_code, constants, code.co_names


@functools.cache
def _library_versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, importlib.metadata.version(name)) for name in LIBRARIES)


@functools.cache
def _distribution(cls: type[Plugin]) -> tuple[str, str]:
    for registry in REGISTRIES.values():
        try:
            entry = registry.entry(registry.name_of(cls))
        except PluginError:
            continue
        return entry.distribution, entry.version
    return cls.__module__, "unregistered"
