"""What a module stands on, and the form in which its source counts."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from mempost.core import closure as closures
from mempost.core.closure import closure
from mempost.core.imports import imports_of
from mempost.core.normal_form import normal_form
from mempost.core.notebook import used_by
from mempost.core.registry import REGISTRIES
from mempost.experiments.plan import ROOTS

PYTHONS = [
    p for v in ("3.12", "3.13") for p in Path.home().glob(f".pyenv/versions/{v}.*/bin/python")
]
SOURCE = '''
"""A module."""
import os

@decorate(1, key="a")
def f(x, *rest, y=2.0, **named) -> int:
    """Says it."""
    pass
    table = {"a": 1, **named}
    return f"{x!r:>{y}} and " "more" + f'{x:}' + "\\u2028"

class A(B):
    """Words."""
'''


def test_what_does_not_run_does_not_count():
    same = """import os  # why


@decorate(
    1,
    key='a',
)
def f(x, *rest, y = 2.0, **named) -> int:
    table = {
        "a": 1, **named}
    "Another thing said."
    return (f"{x!r:>{y}}" f" and more" + f"{x}" + "\\u2028")
class A(B): pass
"""
    assert normal_form(SOURCE) == normal_form(same)
    assert normal_form(SOURCE).isascii()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.0", "2"),
        ("1", "True"),
        ('"a"', 'b"a"'),
        ("*rest", "rest"),
        ("!r", "!s"),
        (">{y}", "<{y}"),
        ("more", "less"),
        ("**named}", '"b": named}'),
        ("A(B)", "A"),
        ("import os", "import os as os"),
        ("-> int", ""),
    ],
)
def test_what_runs_counts(old, new):
    assert old in SOURCE
    assert normal_form(SOURCE.replace(old, new)) != normal_form(SOURCE)


def test_fields_that_a_later_python_adds_count_only_if_they_are_used():
    tree = ast.parse("def f(x): return x")
    before = normal_form(tree)
    [function] = tree.body
    function._fields = (*function._fields, "type_params")
    for empty in (None, []):
        function.type_params = empty
        assert normal_form(tree) == before
    del function.type_params
    assert normal_form(tree) == before
    function.type_params = [ast.Name("T")]
    assert normal_form(tree) != before
    text = ast.JoinedStr([ast.Constant("a"), ast.Constant(""), ast.Constant("b"), ast.Name("x")])
    assert normal_form(text) == normal_form(ast.JoinedStr([ast.Constant("ab"), ast.Name("x")]))


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parts[-3])
def test_the_form_is_the_same_under_other_pythons(python, tmp_path):
    import mempost

    home = Path(mempost.__file__).parent.parent
    files = [*sorted((home / "mempost" / "core").glob("*.py")), tmp_path / "source.py"]
    files[-1].write_text(SOURCE)
    code = (
        "import sys, hashlib, pathlib\n"
        "from mempost.core.normal_form import normal_form as form\n"
        "print(*(hashlib.sha256(form(pathlib.Path(p).read_bytes()).encode()).hexdigest()"
        " for p in sys.argv[1:]))"
    )
    said = [
        subprocess.run([which, "-c", code, *files], cwd=home, capture_output=True, text=True)
        for which in (sys.executable, python)
    ]
    assert said[0].stdout == said[1].stdout != "", said[1].stderr


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package ``stands`` and a module beside it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(closures, "_known", {})  # the package of another test has the same name

    def write(**files):
        for name, content in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / folder / "__init__.py").touch()
            path.write_text(content)
        return tmp_path

    return write


def within(root, *tops):
    """Modules of a closure below some top-level names."""
    return {name for name in closure([root]).modules if name.partition(".")[0] in tops}


def test_imports_are_followed_wherever_they_stand(package):
    package(
        stands__a="from . import b\nfrom .c import value\nimport beside, json, torch.nn\n",
        stands__b="def f():\n    from stands.inner.d import g\n    return g\n",
        stands__c="from typing import TYPE_CHECKING\nvalue = 1\n"
        "if TYPE_CHECKING:\n    import stands.no\nelse:\n    import stands.yes\n",
        stands__inner__d="from ..inner import e as renamed\ng = renamed\n",
        stands__inner__e="import importlib\nimportlib.import_module('.literal', __package__)\n",
        stands__inner__literal="from mempost import Samples\n",
        stands__no="",
        stands__yes="try:\n    import absent_package\nexcept ImportError:\n    pass\n",
        stands__unused="",
        beside="import stands.b\n",
    )
    names = ("", ".a", ".b", ".c", ".yes", ".inner", ".inner.d", ".inner.e", ".inner.literal")
    assert within("stands.a", "stands", "beside") == {"beside", *(f"stands{n}" for n in names)}
    assert closure(["stands.a"]).installed >= {"torch"}
    assert "absent_package" not in closure(["stands.a"]).installed
    found = within("stands.a", "mempost")
    assert {"mempost", "mempost.core.sampler", "mempost.core.problem"} <= found
    assert not any(name.startswith(("mempost.experiments", "mempost.plugins")) for name in found)


def test_names_that_a_package_passes_on_lead_to_where_they_are_from(package):
    folder = package(
        stands__a="import stands.lazy as lazy\nlazy.Thing, lazy.known\n",
        stands__lazy__thing="class Thing: pass",
        stands__lazy__other="class Other: pass",
        stands__b="from stands.dark import Thing\n",
        stands__dark__thing="class Thing: pass",
        stands__dark__other="class Other: pass",
        stands__d="import importlib\nname = 'stands.lazy'\nimportlib.import_module(name)\n",
    )
    getattr_ = "def __getattr__(name): ..."
    table = "_EXPORTS = {'Thing': 'thing', 'Other': 'other'}"
    (folder / "stands/lazy/__init__.py").write_text(f"known = 1\n{table}\n{getattr_}\n")
    (folder / "stands/dark/__init__.py").write_text(getattr_)
    assert within("stands.a", "stands") == {
        "stands",
        "stands.a",
        "stands.lazy",
        "stands.lazy.thing",
    }
    dark = {"stands", "stands.b", "stands.dark", "stands.dark.thing", "stands.dark.other"}
    assert within("stands.b", "stands") == dark
    assert within("stands.d", "stands") >= dark | within("stands.a", "stands")


def test_a_file_that_changes_is_read_again(package):
    folder = package(stands__a="from stands.b import f\n", stands__b="def f(): return 1\n")
    before = closure(["stands.a"]).modules
    (folder / "stands/b.py").write_text("def f(): return 2  # edited\n")
    after = closure(["stands.a"]).modules
    assert {name for name in before if before[name] != after[name]} == {"stands.b"}
    (folder / "stands/b.py").write_text("def f(): return 1  # and back\n")
    assert closure(["stands.a"]).modules == before
    (folder / "stands/b.py").write_text("this is no Python\n")
    assert closure(["stands.a"]).modules != before


def test_modules_of_a_notebook_class_are_roots(package, monkeypatch):
    package(beside="def helper(): return 1\n", stands__a="from beside import helper\n")
    hashes = []
    for value in ("1", "2"):
        names = {"__name__": "__main__"}
        exec(
            "import beside, json, torch\nfrom stands.a import helper\n"
            f"def inner(): return {value}\n"
            "class Some:\n    def f(self):\n        return inner(), helper(), torch\n",
            names,
        )
        used = used_by(names["Some"])
        assert used.modules == {"beside"}  # where the helper is from
        hashes.append(used.hashes)
    assert hashes[0].keys() == {"__main__.Some", "__main__.inner"}
    assert hashes[0]["__main__.Some"] == hashes[1]["__main__.Some"]
    assert hashes[0]["__main__.inner"] != hashes[1]["__main__.inner"]


@pytest.mark.parametrize("kind", sorted(REGISTRIES))
def test_what_is_sampled_stands_on_no_metric_and_no_report(kind):
    """So that a new figure, or another metric, samples nothing again."""
    for name in REGISTRIES[kind].names:
        module, _, _ = REGISTRIES[kind].entry(name).target.partition(":")
        stands_on = closure([module]).modules
        assert module in stands_on, name
        strange = ["mempost.experiments.", "mempost.testing."]
        if kind not in ("metric", "figure"):
            strange += [
                "mempost.plugins.metrics.",
                "mempost.plugins.figures.",
                "mempost.core.metric",
            ]
        assert [m for m in stands_on if m.startswith(tuple(strange))] == [], name


def test_what_is_sampled_imports_nothing_by_a_computed_name_but_plugins():
    """The closure cannot see such imports; those in the registry lead to recipes."""
    targets = (r.entry(name).target for r in REGISTRIES.values() for name in r.names)
    stands_on = closure([*(t.partition(":")[0] for t in targets), *ROOTS]).modules
    computed = set()
    for name in stands_on:
        spec = importlib.util.find_spec(name)
        content = Path(spec.origin).read_bytes()
        if imports_of(content, name, spec.submodule_search_locations is not None)[1].computed:
            computed.add(name)
    assert computed == {"mempost", "mempost.core.registry"}


def test_the_bibliography_holds_nothing_that_acts():
    """It is left out of closures."""
    from mempost.methods import bibliography

    _, *body = ast.parse(Path(bibliography.__file__).read_bytes()).body
    assigned = [node for node in body if not isinstance(node, ast.ImportFrom)]
    assert {getattr(node.value.func, "id", None) for node in assigned} == {"Publication"}
    imported = [node.module for node in body if isinstance(node, ast.ImportFrom)]
    assert imported == ["__future__", "mempost.core.publication"]
