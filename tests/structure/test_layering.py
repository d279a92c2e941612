"""Data flows one way: who may import whom, read from the syntax trees of all modules.

A folder of plugins is a kind. Plugins import the ideas (core), shared mathematics (methods) and
their own folder; besides these only samplers import guidances, solvers and schedules, and priors
import networks and schedules, for their defaults.
"""

from __future__ import annotations

import ast
import builtins
import shutil
import symtable
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import mempost

HOUSE = Path(mempost.__file__).parent
ALLOWED = {
    "core": ("core",),
    "methods": ("core", "methods"),
    "plugins": ("core", "methods"),
    "experiments": ("core", "methods", "experiments", "testing", "benchmarks"),
    "testing": ("core", "methods", "experiments", "testing"),
    "benchmarks": ("core", "methods", "plugins", "experiments", "benchmarks"),
}
DEFAULTS = {
    "samplers": ("guidance", "solvers", "schedules"),
    "priors": ("networks", "schedules"),
}
FRONT = {"mempost", "mempost.__init__"}


def modules(house: Path) -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(house.rglob("*.py")):
        parts = ("mempost", *file.relative_to(house).with_suffix("").parts)
        yield ".".join(parts), ast.parse(file.read_text("utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Names of modules of mempost that are imported anywhere in a module, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def wrong_imports(house: Path) -> list[str]:
    found = []
    for name, tree in modules(house):
        if name in FRONT:
            continue
        _, room, *rest = name.split(".")
        kind = rest[0] if room == "plugins" else ""
        rooms = {f"mempost.{r}" for r in ALLOWED[room]}
        if kind and kind != "__init__":
            rooms |= {f"mempost.plugins.{k}" for k in (kind, *DEFAULTS.get(kind, ()))}
        found += [
            f"{name} imports {target}"
            for target in imported(tree)
            if target.split(".")[0] == "mempost"
            and not target.startswith("mempost.__")
            and not any(target == r or target.startswith(f"{r}.") for r in rooms)
        ]
    return found


def test_nobody_looks_back() -> None:
    assert wrong_imports(HOUSE) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/flow.py", "from mempost.plugins.solvers.ddim import DDIM"),
        ("core/prior.py", "from mempost.methods.mixtures import kernel_mixture"),
        ("methods/waves/pml.py", "import mempost.experiments.store"),
        ("plugins/figures/trace.py", "from mempost.plugins.metrics.misfit import Misfit"),
        ("plugins/metrics/misfit.py", "from mempost.plugins.samplers.dps import DPS"),
        ("plugins/guidance/mmps.py", "from mempost.plugins.solvers.ddim import DDIM"),
        ("experiments/plan.py", "from mempost.plugins.priors.gaussian import Gaussian"),
        ("testing/check.py", "from mempost.plugins import samplers"),
    ],
)
def test_a_wrong_import_planted_in_a_copy_is_found(tmp_path: Path, file: str, line: str) -> None:
    house = tmp_path / "mempost"
    shutil.copytree(HOUSE, house, ignore=shutil.ignore_patterns("__pycache__"))
    planted = house / file
    planted.write_text(planted.read_text("utf-8") + f"\n\ndef planted():\n    {line}\n", "utf-8")
    (found,) = wrong_imports(house)
    assert found.startswith(f"mempost.{file.removesuffix('.py').replace('/', '.')} imports")


def test_a_file_in_plugins_is_a_registered_name() -> None:
    with (HOUSE.parent / "pyproject.toml").open("rb") as file:
        groups = tomllib.load(file)["project"]["entry-points"]
    registered = [target.split(":")[0] for group in groups.values() for target in group.values()]
    files = {name for name, tree in modules(HOUSE / "plugins") if not name.endswith("__init__")}
    found = {name.replace("mempost.", "mempost.plugins.", 1) for name in files}
    assert found == set(registered)
    assert len(registered) == len(set(registered))


def undefined_names(source: str, file: str) -> list[str]:
    """Global names that a module reads and nobody defines (F821 reads shapes as names)."""
    table = symtable.symtable(source, file, "exec")
    known = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    known |= {child.get_name() for child in table.get_children()} | set(dir(builtins))
    known |= {"__file__", "__name__", "__doc__", "__annotations__", "__path__", "__class__"}
    found = []

    def walk(scope: symtable.SymbolTable) -> None:
        for symbol in scope.get_symbols():
            if symbol.is_global() and symbol.is_referenced() and symbol.get_name() not in known:
                found.append(f"{file}: {symbol.get_name()}")
        for child in scope.get_children():
            walk(child)

    walk(table)
    return found


def test_every_name_is_defined() -> None:
    files = [*HOUSE.rglob("*.py"), *(HOUSE.parent / "tests").rglob("*.py")]
    assert [bad for f in files for bad in undefined_names(f.read_text("utf-8"), str(f))] == []
    assert undefined_names("def f():\n    return gone(1)\n", "m.py") == ["m.py: gone"]
