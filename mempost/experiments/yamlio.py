"""YAML as plain data, by the rules of YAML 1.2 and within bounds.

``true`` and ``false`` are booleans, ``null`` and ``~`` are null, decimal numbers are numbers
(``1e-3``, too). All else is text: ``yes``, ``on``, ``1:30``, ``0x1f``, ``010``, dates. A key that
is repeated and a tag (``!!set``) are errors. Anchors, aliases and merge keys (``<<: *anchor``)
stand for copies; they may make a text larger by `MOST_ALIASED` values, and may not contain
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from mempost.core.errors import SpecError
from mempost.core.numbers import FLOAT, INTEGER

MOST_ALIASED = 100_000
MOST_DIGITS = 400

_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "null": (r"null|Null|NULL|~|", lambda text: None),
    "int": (INTEGER.pattern, int),
    "float": (
        rf"{FLOAT.pattern}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        lambda text: float(text.replace(".", "", 1) if text[-1] in "fFnN" else text),
    ),
    "merge": (r"<<", str),
    "str": (r"(?!)", str),
}
"""How plain scalars of a tag look, and what they stand for."""


class _Loader(yaml.SafeLoader):
    """Composes nodes whose tags follow `_SCALARS`."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that this or an older reader of YAML would take for something else."""


_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"({_pattern})$", re.ASCII), None)
_Dumper.add_implicit_resolver(_TAG + "float", re.compile(f"({FLOAT.pattern})$", re.ASCII), None)


class _Construction:
    """Plain data from nodes, every alias as a copy of its own."""

    def __init__(self) -> None:
        self.within: list[yaml.Node] = []
        self.seen: set[yaml.Node] = set()
        self.copies = 0

    def value(self, node: yaml.Node) -> Any:
        """The data that a node stands for."""
        if node in self.within:
            raise _error("an alias stands inside of what it names", node)
        self.copies += node in self.seen
        self.seen.add(node)
        if self.copies > MOST_ALIASED:
            raise _error(f"aliases stand for more than {MOST_ALIASED} values", node)
        name = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.ScalarNode) and name in _SCALARS:
            return _scalar(node, name)
        self.within.append(node)
        try:
            if isinstance(node, yaml.SequenceNode) and name == "seq":
                return [self.value(item) for item in node.value]
            if isinstance(node, yaml.MappingNode) and name == "map":
                return self._mapping(node)
        finally:
            self.within.pop()
        raise _error(f"the tag {node.tag.replace(_TAG, '!!')} does not stand for plain data", node)

    def _mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node)
            if not isinstance(key, str | int | float | bool):
                raise _error("a key should be a name", key_node)
            if key in own:
                raise _error(f"the key {key!r} appears twice", key_node)
            own[key] = self.value(value_node)
            if key_node.tag == _TAG + "merge":
                parts = own[key] if isinstance(own[key], list) else [own[key]]
                if not all(isinstance(part, dict) for part in parts):
                    raise _error("<< merges a mapping or a list of mappings", value_node)
                for part in reversed(parts):
                    merged |= part
        if merged:
            del own["<<"]
        return merged | own


def _scalar(node: yaml.ScalarNode, name: str) -> Any:
    pattern, convert = _SCALARS[name]
    if name in ("int", "float") and len(node.value) > MOST_DIGITS:
        raise _error(f"a number has at most {MOST_DIGITS} digits", node)
    if name not in ("str", "merge") and re.fullmatch(pattern, node.value, re.ASCII) is None:
        raise _error(f"{node.value[:40]!r} is no {name}", node)
    return convert(node.value)


def _error(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def parse_yaml(text: str, where: str) -> Any:
    """Plain data from YAML text.

    Raises:
        SpecError: the text is not YAML, naming ``where``, line and column.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Construction().value(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise SpecError(f"{where}{at}: not valid YAML: {problem}") from None
    except RecursionError:
        raise SpecError(f"{where}: not valid YAML: nested too deeply") from None


def dump_yaml(value: Any) -> str:
    """Plain data as YAML text, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        SpecError: no such file, not text, not YAML, or not a mapping of names.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from None
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise SpecError(f"{path}: a spec is a mapping of names to values, found {found}")
    for key in value:
        if not isinstance(key, str):
            raise SpecError(f"{path}: {key!r} is not a name; the keys of a spec are names")
    return value
