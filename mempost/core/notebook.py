"""The code of classes that no file holds: those of a notebook, or of a script.

What counts is the compiled code of the class, and of the functions and classes of the notebook that
it uses, with the plain values that it refers to. Modules that it uses are roots of its closure.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from mempost.core.closure import is_read

MAIN = "__main__"
_DOCSTRING = 0x4000000
"""Flag of code with a docstring, from Python 3.13 on."""


class Used(NamedTuple):
    """Hashes of classes and functions by name, and the modules that they use."""

    hashes: Mapping[str, str]
    modules: frozenset[str]


def is_fileless(module: str) -> bool:
    """Whether the code of a module cannot be read again from a file of its own."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return False
    return module == MAIN or getattr(sys.modules.get(module), "__file__", None) is None


def used_by(cls: type) -> Used:
    """What a class without a file stands on."""
    hashes: dict[str, str] = {}
    modules: set[str] = set()
    todo: list[Any] = [cls]
    while todo:
        item = todo.pop()
        name = f"{item.__module__}.{item.__qualname__}"
        if name in hashes:
            continue
        functions, values = _members(item) if isinstance(item, type) else ({"": item}, {})
        if isinstance(item, type):
            todo += [base for base in item.__bases__ if is_fileless(base.__module__)]
        codes = [(key, _instructions(f.__code__)) for key, f in functions.items()]
        for found in (value for f in functions.values() for value in _globals_of(f)):
            if isinstance(found[1], ModuleType):
                modules.add(found[1].__name__)
            elif not isinstance(found[1], type | FunctionType):
                values["global " + found[0]] = found[1]
            elif is_fileless(found[1].__module__):
                todo.append(found[1])
            else:
                modules.add(found[1].__module__)
        plain = sorted((key, repr(value)) for key, value in values.items() if _is_plain(value))
        hashes[name] = hashlib.sha256(repr((codes, plain)).encode()).hexdigest()[:32]
    return Used(hashes, frozenset(m for m in modules if is_read(m)))


def _members(cls: type) -> tuple[dict[str, FunctionType], dict[str, Any]]:
    """Methods, class methods and properties of a class, and its other attributes."""
    functions: dict[str, FunctionType] = {}
    values: dict[str, Any] = {}
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if isinstance(function, FunctionType):
            functions[f"{name} {type(member).__name__}"] = function
        elif not name.startswith(("__", "model_")):
            values[name] = member
    return functions, values


def _globals_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The global names that a function refers to, with what they stand for."""
    known = function.__globals__
    return ((name, known[name]) for name in sorted(_names(function.__code__)) if name in known)


def _names(code: CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)


def _instructions(code: CodeType) -> tuple[Any, ...]:
    """What code does, without its docstring."""
    constants = list(code.co_consts)
    named = not code.co_name.startswith("<")
    documented = code.co_flags & _DOCSTRING if sys.version_info >= (3, 13) else named
    if documented and constants and isinstance(constants[0], str):
        constants[0] = None
    return code.co_code, [_constant(c) for c in constants], code.co_names


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _instructions(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | complex | str | bytes | None)
