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
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, NamedTuple

from mempost.core.errors import PluginError, SpecError, nearest

if TYPE_CHECKING:
    from mempost.core.plugin import Plugin


class Kind(NamedTuple):
    """A kind of plugin; beside this row it needs its base class and a template of its name.

    Attributes:
        base: ``module:class`` of the abstract class.
        plural: the entry point group is ``mempost.<plural>``.
        checks: modules of `mempost.testing.checks` that hold its checks, the one with their
            catalogue first; by default those of every plugin alone.
        default: the name that a mapping without a ``type`` stands for, if there is one.
    """

    base: str
    plural: str
    checks: tuple[str, ...] = ("recipes",)
    default: str | None = None


KINDS = {
    "prior": Kind(
        "mempost.core.prior:Prior", "priors", ("priors", "denoising", "prior_capabilities")
    ),
    "operator": Kind(
        "mempost.core.operator:ForwardOperator", "operators", ("operators", "derivatives")
    ),
    "sampler": Kind(
        "mempost.core.sampler:PosteriorSampler",
        "samplers",
        ("samplers", "iterations", "posteriors", "posterior_capabilities"),
    ),
    "dataset": Kind("mempost.core.dataset:Dataset", "datasets", ("datasets",)),
    "metric": Kind("mempost.core.metric:Metric", "metrics", ("metrics",)),
    "figure": Kind("mempost.core.figure:Figure", "figures", ("figures",)),
    "schedule": Kind("mempost.core.schedule:NoiseSchedule", "schedules", ("schedules",)),
    "network": Kind("mempost.core.network:Network", "networks", ("networks",)),
    "guidance": Kind("mempost.core.guidance:Guidance", "guidances", ("guidances",)),
    "noise": Kind("mempost.core.noise:NoiseRecipe", "noises", ("noises",), default="gaussian"),
    "solver": Kind("mempost.core.solver:Solver", "solvers", ("solvers",)),
}
"""Every kind of plugin by name. A new one is a row here, and
``mempost/testing/templates/<kind>.py.tmpl`` and ``<kind>.yaml.tmpl``."""


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
            with redirect_stdout(sys.stderr):  # what a module prints is no part of our answer
                cls = EntryPoint(self.name, self.target, REGISTRIES[self.kind].group).load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{label} is broken: {type(error).__name__}: {_one_line(error)}"
            ) from error
        return REGISTRIES[self.kind].require(cls, label)

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


def _one_line(error: BaseException) -> str:
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

    @property
    def plural(self) -> str:
        """The kind's name of many."""
        return KINDS[self.kind].plural

    @property
    def group(self) -> str:
        """The entry point group, ``mempost.<plural>``."""
        return f"mempost.{self.plural}"

    @cached_property
    def candidates(self) -> dict[str, list[Entry]]:
        """Every entry point of the kind by name, the winner first."""
        found: dict[str, set[Entry]] = {}
        for point in entry_points(group=self.group):
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
        module, _, attribute = KINDS[self.kind].base.partition(":")
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

    def require(self, cls: object, label: str) -> type[Plugin]:
        """The class itself, if it is a concrete plugin of the kind.

        Raises:
            PluginError: it is none; the message starts with ``label``.
        """
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            raise PluginError(f"{label} is not a subclass of {self.base.__name__}")
        if inspect.isabstract(cls) or cls is self.base:
            missing = ", ".join(sorted(cls.__abstractmethods__)) or "anything"
            raise PluginError(f"{label} is abstract: it does not override {missing}")
        return cls

    def register(self, name: str, cls: type[Plugin]) -> None:
        """Add a class in this process only (notebooks, tests); workers see entry points alone.

        Raises:
            PluginError: the class is not a concrete plugin of the kind.
        """
        self._local[name] = self.require(cls, f"{self.kind} {name!r}")

    def find(self, cls: type[Plugin]) -> str | None:
        """The name under which a class is registered, or None."""
        for name, local in self._local.items():
            if local is cls:
                return name
        for name, entries in self.candidates.items():
            module, _, attribute = entries[0].target.partition(":")  # where it may be re-exported
            if getattr(sys.modules.get(module), attribute, None) is cls:
                return name
        return None

    def name_of(self, cls: type[Plugin]) -> str:
        """The name under which a class is registered.

        Raises:
            PluginError: it is not registered.
        """
        name = self.find(cls)
        if name is not None:
            return name
        raise PluginError(
            f"{cls.__module__}:{cls.__qualname__} is not registered as a {self.kind}: "
            "add an entry point, or in a notebook "
            f"call mempost.register({self.kind!r}, name, cls)"
        )


REGISTRIES = {kind: Registry(kind) for kind in KINDS}
"""The registries by kind."""


def kind_named(name: str) -> str:
    """A kind by its name or its plural.

    Raises:
        SpecError: there is no such kind.
    """
    for kind, row in KINDS.items():
        if name in (kind, row.plural):
            return kind
    allowed = f"allowed are {', '.join(KINDS)}"
    raise SpecError(f"{name!r} is not a kind; {allowed}.{nearest(name, KINDS)}")


def register(kind: str, name: str, cls: type[Plugin]) -> None:
    """Offer a class under a name in this process: ``register("schedule", "linear", Linear)``.

    For notebooks and scripts. Worker processes see plugins with an entry point only.

    Raises:
        SpecError: there is no such kind.
        PluginError: the class is not a concrete plugin of it.
    """
    REGISTRIES[kind_named(kind)].register(name, cls)
