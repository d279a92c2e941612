"""The files that the code of a module stands on: its import closure.

Modules are read, not run: their syntax trees say what they import, at the top or inside functions
(`mempost.core.imports`), and so on from module to module. Importing a module runs the packages that
it lies in, so these belong to it.

A closure holds modules of mempost, of the root's own top-level package, and others that are not
installed (a file beside a script, a package under development). Of an installed one the version
counts: a closure gives its name. A name that a package passes on by a ``__getattr__`` is looked up
in the dictionary that gives the module of each name, as mempost's own does; without one, all of
the package counts. So it does where ``import_module`` is called with what is not a literal; but in
mempost, which does so for names of plugins alone, and each of these is a recipe and a root. Modules
named ``bibliography`` hold publications and nothing that acts: they do not count.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

from mempost.core.imports import Imports, imports_of

OURS = "mempost"
_INERT = "bibliography"
_INSTALLED = {"site-packages", "dist-packages"}
_Stamp = tuple[int, int, int] | None


class Closure(NamedTuple):
    """Hash of each module by its name, and the top-level names of what is installed besides."""

    modules: Mapping[str, str]
    installed: frozenset[str]


class _Place(NamedTuple):
    """Where a module stands: its file (a namespace has none), and the folders of a package."""

    name: str
    file: Path | None
    folders: tuple[Path, ...] = ()


def closure(roots: Iterable[str]) -> Closure:
    """The closure of some modules; files that did not change since the last time are not read."""
    key = frozenset(roots)
    if key not in _known or any(_stamp(file) != stamp for file, stamp in _known[key][1].items()):
        walks = [_Walk(top) for top in sorted({_top(root) for root in key})]
        for walk in walks:
            walk.follow(sorted(root for root in key if _top(root) == walk.own))
        modules = {name: digest for walk in walks for name, digest in walk.modules.items()}
        installed = frozenset[str]().union(*(walk.installed for walk in walks))
        stamps = {file: stamp for walk in walks for file, stamp in walk.stamps.items()}
        _known[key] = Closure(dict(sorted(modules.items())), installed), stamps
    return _known[key][0]


def is_read(module: str) -> bool:
    """Whether the files of a module count where it is used, and not its version alone."""
    top = _top(module)
    place = None if top in sys.stdlib_module_names else _find(top)
    return place is not None and (top == OURS or not _is_installed(place))


_known: dict[frozenset[str], tuple[Closure, dict[Path, _Stamp]]] = {}


class _Walk:
    """From module to module, for roots in one top-level package."""

    def __init__(self, own: str) -> None:
        self.own = own
        self.modules: dict[str, str] = {}
        self.installed: set[str] = set()
        self.stamps: dict[Path, _Stamp] = {}

    def follow(self, names: Iterable[str]) -> None:
        """Take in what some dotted names lead to, and all that it imports."""
        todo = list(names)
        seen: set[str] = set(todo)
        while todo:
            for place in self._places(todo.pop()):
                if place.name not in self.modules:
                    found = self._take(place) - seen
                    seen |= found
                    todo.extend(sorted(found))

    def _take(self, place: _Place) -> frozenset[str]:
        """Take in one module; gives the names that it imports."""
        if place.file is None:
            self.modules[place.name] = ""
            return frozenset()
        source = self._read(place)
        self.modules[place.name] = source.digest
        if source.imports.computed and _top(place.name) != OURS:
            return source.imports.names | _all_of(_find(_top(place.name)))
        return source.imports.names

    def _read(self, place: _Place) -> _Source:
        assert place.file is not None
        stamp = self.stamps[place.file] = _stamp(place.file)
        return _read(place, stamp)

    def _places(self, dotted: str) -> Iterator[_Place]:
        """The modules that a dotted name leads through, and where its last part is from."""
        top, *parts = dotted.split(".")
        if top in sys.stdlib_module_names:
            return
        place = _find(top)
        if place is None or (top not in (self.own, OURS) and _is_installed(place)):
            self.installed |= {top} if place is not None else set()
            return
        yield place
        for part in parts:
            inside = _inside(place, part)
            if inside is None:
                yield from self._passed_on(place, part)
                return
            place = inside
            if part == _INERT:
                return
            yield place

    def _passed_on(self, place: _Place, name: str) -> Iterator[_Place]:
        """The modules that an attribute of a module is from, if it is passed on when asked for."""
        imports = self._read(place).imports if place.file is not None else None
        if imports is None or imports.passes_on is None or name in imports.defined:
            return
        target = imports.passes_on.get(name)
        for dotted in [f"{place.name}.{target}", target] if target else _all_of(place):
            if dotted.partition(".")[0] in (self.own, OURS) and _module(dotted) is not None:
                yield from self._places(dotted)


class _Source(NamedTuple):
    digest: str
    imports: Imports


@functools.lru_cache(8192)
def _read(place: _Place, _: _Stamp) -> _Source:
    """A file: the hash of what it does, and what it imports; the bytes count if it is compiled."""
    assert place.file is not None
    content = place.file.read_bytes()
    try:
        form, imports = imports_of(content, place.name, bool(place.folders))
    except (SyntaxError, ValueError):
        form, imports = content, Imports()
    return _Source(hashlib.sha256(form).hexdigest()[:32], imports)


def _stamp(path: Path) -> _Stamp:
    """What changes when a file does; None if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _top(name: str) -> str:
    return name.partition(".")[0]


def _find(top: str) -> _Place | None:
    """Where a top-level module stands."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = tuple(map(Path, spec.submodule_search_locations or ()))
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    return _Place(top, file, folders)


def _inside(package: _Place, part: str) -> _Place | None:
    """Where a module of a package stands."""
    name = f"{package.name}.{part}"
    for folder in package.folders:
        if (folder / part / "__init__.py").is_file():
            return _Place(name, folder / part / "__init__.py", (folder / part,))
        for suffix in (".py", *EXTENSION_SUFFIXES):
            if (folder / f"{part}{suffix}").is_file():
                return _Place(name, folder / f"{part}{suffix}")
        if (folder / part).is_dir():
            return _Place(name, None, (folder / part,))
    return None


def _module(dotted: str) -> _Place | None:
    """Where a module of that name stands, if there is one."""
    top, *parts = dotted.split(".")
    place = _find(top)
    for part in parts:
        place = None if place is None else _inside(place, part)
    return place


def _all_of(package: _Place | None) -> frozenset[str]:
    """The names of all modules of a package."""
    if package is None:
        return frozenset()
    found = {package.name}
    for folder in package.folders:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found.add(".".join([package.name, *parts]).removesuffix(".__init__"))
    return frozenset(found)


def _is_installed(place: _Place) -> bool:
    """Whether a module lies where packages are installed: its version stands for it."""
    where = [*place.folders, *([] if place.file is None else [place.file])]
    return any(_INSTALLED.intersection(path.parts) for path in where)
