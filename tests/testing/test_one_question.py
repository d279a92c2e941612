"""What a thing can give is asked of it, and not of its class or of an error: over syntax trees.

No handler of `PluginError` that drops the error (a question in disguise), and no test of a
class of a plugin, or of what a plugin gives, outside the folder of its module.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mempost

ROOT = Path(mempost.__file__).parent
CONCRETE = (
    "mempost.plugins.",
    *(f"mempost.methods.{part}." for part in ("mixtures", "posteriors", "score_matching")),
)
"""Where the classes are whose instances others are given: priors, posteriors, samplers."""

REFUSALS = {
    ("core/fields.py", "kind_definitions"),  # a broken package is left out; `list` says why
    ("testing/checks/sampler_case.py", "require_nonlinear_refused"),  # a check that a refusal comes
}
"""Functions that wait for a refusal, and ask no capability by it."""


def dropped_errors(tree: ast.Module, path: str) -> Iterator[str]:
    """Handlers of `PluginError` that neither raise nor use what they caught."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or (path, function.name) in REFUSALS:
            continue
        for handler in (n for n in ast.walk(function) if isinstance(n, ast.ExceptHandler)):
            if handler.type is None or "PluginError" not in names(handler.type):
                continue
            inside = [n for statement in handler.body for n in ast.walk(statement)]
            used = any(isinstance(n, ast.Name) and n.id == handler.name for n in inside)
            if not used and not any(isinstance(n, ast.Raise) for n in inside):
                yield f"{path}:{handler.lineno} drops a PluginError in {function.name}"


def classes_looked_at(tree: ast.Module, path: str) -> Iterator[str]:
    """Tests of classes that are imported from plugin modules of another folder."""
    folder = ".".join(("mempost", *Path(path).parent.parts))
    origin = {}
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)):
        for alias in node.names:
            origin[alias.asname or alias.name] = node.module or ""
    for node in ast.walk(tree):
        tested: set[str] = set()
        if isinstance(node, ast.Call) and names(node.func) & {"isinstance", "issubclass"}:
            tested = names(node.args[1])
        elif isinstance(node, ast.MatchClass):
            tested = names(node.cls)
        elif isinstance(node, ast.Compare) and any("type" in names(n) for n in ast.walk(node)):
            tested = names(node)
        for name in tested:
            module = origin.get(name, "")
            inside = module.startswith(f"{folder}.") and "." not in module[len(folder) + 1 :]
            if module.startswith(CONCRETE) and not inside:
                yield f"{path}:{node.lineno} tests for the class {name} of {module}"


def names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def findings(source: str, path: str) -> list[str]:
    tree = ast.parse(source)
    return [*dropped_errors(tree, path), *classes_looked_at(tree, path)]


def test_capabilities_are_asked_for() -> None:
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        found += findings(file.read_text(encoding="utf-8"), path)
    assert not found, "\n".join(found)


def test_the_refusals_that_are_allowed_are_still_there() -> None:
    for path, name in REFUSALS:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in source and "except PluginError" in source


PLANTED = {
    "drops a PluginError": """
def has_density(prior):
    try:
        prior.log_density(None)
    except (ValueError, PluginError):
        return False
    return True
""",
    "KernelMixture of mempost.methods.mixtures.kernel_mixture": """
from mempost.methods.mixtures.kernel_mixture import KernelMixture

def f(prior):
    return isinstance(prior, (int, KernelMixture))
""",
    "class K of mempost.methods.mixtures.kernel_mixture": """
def f(prior):
    from mempost.methods.mixtures.kernel_mixture import KernelMixture as K
    match prior:
        case K():
            return True
""",
    "class FittedScore of mempost.methods.score_matching.fitted": """
from mempost.methods.score_matching.fitted import FittedScore

def f(prior):
    return type(prior) is FittedScore
""",
}


@pytest.mark.parametrize("said", PLANTED)
def test_planted_questions_are_found(said: str) -> None:
    (found,) = findings(PLANTED[said], "plugins/metrics/planted.py")
    assert found.startswith("plugins/metrics/planted.py:") and said in found


@pytest.mark.parametrize(
    "source",
    [
        PLANTED["drops a PluginError"].replace("return False", "raise"),
        PLANTED["drops a PluginError"].replace(
            "PluginError):\n        return False", "PluginError) as error:\n        print(error)"
        ),
        "from mempost.methods.statistics.distances import Law\nisinstance(1, Law)",
        "from mempost.core.reverse import ReverseSampler\nisinstance(1, ReverseSampler)",
    ],
)
def test_what_is_no_such_question_is_let_be(source: str) -> None:
    assert findings(source, "plugins/metrics/planted.py") == []
