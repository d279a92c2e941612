"""What determines a result: hyper-parameters, the code that uses them, and the files they name.

Results are found again by a hash of all three. The code is the import closure of the modules that
define the recipes (`mempost.core.closure`), file by file, in a form in which comments and
docstrings do not count; of what is installed besides it is the version. Classes of a notebook are
in no file, and their compiled code counts. A file that is read counts by its content, so that a
project may move.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from mempost.core.arrays import FrozenArray
from mempost.core.closure import closure
from mempost.core.errors import PluginError
from mempost.core.notebook import is_fileless, used_by
from mempost.core.plugin import Plugin, Recipe
from mempost.core.registry import REGISTRIES

MOST_FILES = 1000
LIBRARIES = ("mempost", "torch", "numpy", "scipy")


def digest(dumped: Any, parts: Any, roots: Iterable[str] = ()) -> str:
    """Hash (64 digits) of what was dumped of recipes, with the code and the files of ``parts``.

    Args:
        dumped: JSON values.
        parts: the recipes, in lists and mappings.
        roots: modules besides those of the recipes whose code makes the result.
    """
    files, recipes = file_hashes(parts), list(recipes_in(parts))
    code = _code(frozenset(map(type, recipes)), frozenset(roots))
    payload = {
        "dumped": _with_contents(dumped, files),
        "files": sorted(files.values()),
        "types": [_qualified(type(recipe)) for recipe in recipes],
        "sources": code.sources,
        "versions": code.versions,
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
    """sha256 of every file and folder that recipes read, by path.

    These are their `Path` fields, and texts that are the path of something: a recipe that says
    ``str`` where it means `InputFile` reads it all the same.
    """
    paths = {value for value in _walk(parts) if isinstance(value, Path)}
    hashes = {str(path): _content(path) for path in sorted(paths)}
    return {path: content for path, content in hashes.items() if content is not None}


def versions(parts: Any, roots: Iterable[str] = ()) -> Mapping[str, str]:
    """Version of every distribution that plugins come from, or that their code imports."""
    return _code(frozenset(map(type, recipes_in(parts))), frozenset(roots)).versions


def sources(parts: Any, roots: Iterable[str] = ()) -> Mapping[str, str]:
    """Hash of every module that recipes and ``roots`` stand on, and of classes in a notebook."""
    return _code(frozenset(map(type, recipes_in(parts))), frozenset(roots)).sources


class _Code(NamedTuple):
    sources: Mapping[str, str]
    versions: Mapping[str, str]


def _code(kinds: frozenset[type], roots: frozenset[str]) -> _Code:
    """The code that recipes of some classes, their bases and ``roots`` stand on."""
    classes = {cls for kind in kinds for cls in kind.__mro__ if issubclass(cls, Recipe)}
    loose = [used_by(cls) for cls in classes if is_fileless(cls.__module__)]
    modules = {cls.__module__ for cls in classes if not is_fileless(cls.__module__)}
    stands_on = closure(roots.union(modules, *(used.modules for used in loose)))
    hashes = {name: value for used in loose for name, value in used.hashes.items()}
    found = dict(map(_distribution, (kind for kind in kinds if issubclass(kind, Plugin))))
    found |= {name: _version(name) for name in {*LIBRARIES, *stands_on.installed}}
    return _Code({**stands_on.modules, **hashes}, dict(sorted(found.items())))


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; a file that did not change is read once."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _content(path: Path) -> str | None:
    """The hash of a file, or of all files in a folder; None if there is nothing."""
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        return None
    inside = list(itertools.islice((p for p in path.rglob("*") if p.is_file()), MOST_FILES + 1))
    if len(inside) > MOST_FILES:
        raise PluginError(
            f"{path} is a folder of more than {MOST_FILES} files, whose content counts: name a file"
        )
    named = [f"{p.relative_to(path).as_posix()} {sha256_of(p)}" for p in sorted(inside)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


@functools.lru_cache(4096)
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _walk(value: Any) -> Iterator[Any]:
    """The recipes and paths in a value, itself included, in order."""
    inside: Iterable[Any] = ()
    if isinstance(value, BaseModel):
        yield value
        inside = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, Path):
        yield value
    elif isinstance(value, str):
        if _names_something(value):
            yield Path(value)
    elif isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    elif isinstance(value, FrozenArray):
        inside = value.files
    for item in inside:
        if not isinstance(item, int | float | None):
            yield from _walk(item)


def _names_something(text: str) -> bool:
    """Whether a text is the path of a file or, with a folder in it, of a folder."""
    if "." not in text and os.sep not in text:
        return False
    # os.path answers for any text, where Path raises for a name too long
    if os.path.isfile(text):  # noqa: PTH113
        return True
    return os.sep in text.strip(os.sep) and os.path.isdir(text)  # noqa: PTH112


def _with_contents(dumped: Any, files: Mapping[str, str]) -> Any:
    """Dumped data with the hash of its content in place of every file's path."""
    if isinstance(dumped, Mapping):
        return {key: _with_contents(value, files) for key, value in dumped.items()}
    if isinstance(dumped, list | tuple):
        return [_with_contents(value, files) for value in dumped]
    return files.get(dumped, dumped) if isinstance(dumped, str) else dumped


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@functools.cache
def _version(name: str) -> str:
    """Version of the distribution that a top-level module belongs to."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # sklearn is of scikit-learn
        owners = importlib.metadata.packages_distributions().get(name, ())
        return ", ".join(importlib.metadata.version(owner) for owner in owners) or "unknown"


@functools.cache
def _distribution(cls: type[Plugin]) -> tuple[str, str]:
    for registry in REGISTRIES.values():
        if (name := registry.find(cls)) is not None:
            entry = registry.entry(name)
            return entry.distribution, entry.version
    return cls.__module__, "unregistered"
