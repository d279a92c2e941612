"""One registry per kind of plugin, over entry points: lazy, cached, forgiving.

A distribution offers plugins under ``[project.entry-points."mempost.priors"]`` and so on; mempost's
own are registered in the very same way. Reading the entry points imports nothing. A plugin is
imported when it is asked for by name; one that fails to import is named and the others live on;
where two distributions offer one name, mempost's own wins, else the first in alphabetical order,
and a warning names both.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from mempost.core.errors import PluginError, nearest

if TYPE_CHECKING:
    from mempost.core.plugin import Plugin

BASES = {
    "prior": "mempost.core.prior:Prior",
    "operator": "mempost.core.operator:ForwardOperator",
    "sampler": "mempost.core.sampler:PosteriorSampler",
    "dataset": "mempost.core.dataset:Dataset",
    "metric": "mempost.core.metric:Metric",
    "figure": "mempost.core.figure:Figure",
}
"""Kinds of plugin and their bases; the entry point group of a kind is ``mempost.<kind>s``."""


@dataclass(frozen=True)
class Entry:
    """A registered name: where it is from, without importing it."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    def load(self) -> type[Plugin]:
        """Import the class.

        Raises:
            PluginError: it cannot be imported, or is not a plugin of its kind.
        """
        label = f"{self.kind} {self.name!r} ({self.target}, from {self.distribution})"
        try:
            cls = EntryPoint(self.name, self.target, f"mempost.{self.kind}s").load()
        except Exception as error:
            raise PluginError(
                f"{label} is broken: {type(error).__name__}: {_one_line(error)}"
            ) from error
        base = REGISTRIES[self.kind].base
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise PluginError(f"{label} is not a subclass of {base.__name__}")
        if inspect.isabstract(cls):
            missing = ", ".join(sorted(cls.__abstractmethods__))
            raise PluginError(f"{label} is abstract: it does not override {missing}")
        return cls

    def summary(self) -> str:
        """First docstring line of the class, read from its source without importing it.

        Raises:
            PluginError: the module is missing, does not parse, lacks the class, or imports
                what is not installed.
        """
        module, _, attribute = self.target.partition(":")
        try:
            spec = importlib.util.find_spec(module)
            if spec is None or spec.origin is None:
                raise ImportError(f"no module named {module!r}")
            with open(spec.origin, encoding="utf-8") as file:
                tree = ast.parse(file.read())
            _refuse_unimportable(tree)
        except Exception as error:
            raise PluginError(f"{type(error).__name__}: {_one_line(error)}") from error
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == attribute:
                return (ast.get_docstring(node) or "").partition("\n")[0]
        if (origin := _imported_from(tree, attribute, spec.parent)) is not None:
            return replace(self, target=origin).summary()
        raise PluginError(f"{module} defines no class {attribute!r}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _imported_from(tree: ast.Module, name: str, package: str | None) -> str | None:
    """``module:attribute`` of what a module imports under a name, to pass it on."""
    for node in (node for node in tree.body if isinstance(node, ast.ImportFrom)):
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                relative = "." * node.level + (node.module or "")
                return f"{importlib.util.resolve_name(relative, package)}:{alias.name}"
    return None


def _refuse_unimportable(tree: ast.Module) -> None:
    """Raise ImportError for a top-level raise or an import of what is not installed."""
    for node in tree.body:
        if isinstance(node, ast.Raise):
            raise ImportError(f"the module raises at line {node.lineno}")
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.modules and importlib.util.find_spec(top) is None:
                raise ImportError(f"no module named {top!r}")


class Registry:
    """The plugins of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loaded: dict[str, type[Plugin]] = {}
        self._local: dict[str, type[Plugin]] = {}

    @cached_property
    def candidates(self) -> dict[str, list[Entry]]:
        """Every entry point of the kind by name, the winner first."""
        found: dict[str, set[Entry]] = {}
        for point in entry_points(group=f"mempost.{self.kind}s"):
            name = point.dist.name if point.dist else "unknown"
            version = point.dist.version if point.dist else "0"
            entry = Entry(self.kind, point.name, point.value, name, version)
            found.setdefault(point.name, set()).add(entry)

        def rank(entry: Entry) -> tuple[bool, str, str]:
            return entry.distribution != "mempost", entry.distribution, entry.target

        return {name: sorted(found[name], key=rank) for name in sorted(found)}

    @property
    def base(self) -> type[Plugin]:
        """The abstract class of the kind."""
        module, _, attribute = BASES[self.kind].partition(":")
        return getattr(importlib.import_module(module), attribute)

    @property
    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted({*self.candidates, *self._local})

    def entry(self, name: str) -> Entry:
        """The winning entry of a name.

        Raises:
            PluginError: no such plugin.
        """
        if name in self._local:
            cls = self._local[name]
            return Entry(self.kind, name, f"{cls.__module__}:{cls.__qualname__}", "local", "0")
        if name not in self.candidates:
            raise PluginError(
                f"no {self.kind} is named {name!r}; allowed are {', '.join(self.names)}."
                + nearest(name, self.names)
            )
        return self.candidates[name][0]

    def duplicates(self, name: str) -> str | None:
        """A sentence on who else offers a name, or None."""
        entries = self.candidates.get(name, [])
        if len(entries) < 2:
            return None
        winner, *others = entries
        also = ", ".join(f"{e.target} from {e.distribution}" for e in others)
        return (
            f"{self.kind} {name!r} is offered more than once: using {winner.target} from "
            f"{winner.distribution}, not {also}"
        )

    def get(self, name: str) -> type[Plugin]:
        """The class registered under a name, imported at the first call."""
        if name in self._local:
            return self._local[name]
        if name not in self._loaded:
            entry = self.entry(name)
            if (message := self.duplicates(name)) is not None:
                warnings.warn(message, stacklevel=2)
            self._loaded[name] = entry.load()
        return self._loaded[name]

    def register(self, name: str, cls: type[Plugin]) -> None:
        """Add a class in this process only (notebooks, tests); workers see entry points alone."""
        self._local[name] = cls

    def name_of(self, cls: type[Plugin]) -> str:
        """The name under which a class is registered.

        Raises:
            PluginError: it is not registered.
        """
        target = f"{cls.__module__}:{cls.__qualname__}"
        for name, local in self._local.items():
            if local is cls:
                return name
        for name, entries in self.candidates.items():
            module, _, attribute = entries[0].target.partition(":")  # where it may be re-exported
            if getattr(sys.modules.get(module), attribute, None) is cls:
                return name
        raise PluginError(
            f"{target} is not registered as a {self.kind}: add an entry point, or in a notebook "
            f"call mempost.core.registry.REGISTRIES[{self.kind!r}].register(name, cls)"
        )


REGISTRIES = {kind: Registry(kind) for kind in BASES}
"""The six registries by kind."""
