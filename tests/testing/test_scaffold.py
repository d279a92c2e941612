"""New packages: they pass their own tests, run in a spec, and bad names are refused."""

import ast
import os
import subprocess
import sys
import tomllib

import pytest

import mempost
from mempost.core.errors import SpecError
from mempost.core.registry import KINDS
from mempost.testing import check_plugin, new_package


def make_importable(package, site):
    """What an editable install leaves behind: the metadata of the distribution, and its path."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return str(package / "src")


def run_tests(packages, path, folder):
    """The last line of pytest on the tests of some packages, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    tests = [str(package / "tests") for package in packages]
    run = subprocess.run(
        [*command, *tests], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.splitlines()[-1]


def test_a_package_is_installed_and_passes_its_own_tests(tmp_path):
    package, site = new_package("operator", "demo", tmp_path), tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True)
    summary = run_tests([package], [str(site)], tmp_path)
    assert int(summary.split()[0]) >= 15 and "failed" not in summary, summary


@pytest.mark.slow
def test_each_kind_of_package_passes_its_own_tests(tmp_path):
    packages = [new_package(kind, f"demo_{kind}", tmp_path) for kind in KINDS]
    site = tmp_path / "site"
    path = [make_importable(package, site) for package in packages] + [str(site)]
    summary = run_tests(packages, path, tmp_path)
    assert int(summary.split()[0]) >= 73 and "failed" not in summary, summary


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_plugin_passes_the_public_checks_and_its_example_runs(kind, seeing, tmp_path):
    """As in the packages' own tests, in this process, with fewer samples of the example."""
    package = new_package(kind, "demo", tmp_path)
    tests = (package / "tests" / "test_demo.py").read_text()
    assert f'["{kind}:demo"]' in tests and "example.yaml" in tests
    with seeing(make_importable(package, tmp_path / "site"), tmp_path / "site"):
        outcomes = check_plugin(kind, "demo")
        assert len(outcomes) >= 8
        assert [str(outcome) for outcome in outcomes if not outcome.ok] == []
        study = mempost.run(package / "example.yaml", set={"samples": 32}, out=tmp_path / "out")
        assert study.ok, [*study.errors, *(row["reason"] for row in study.rows)]


def test_guidance_of_ones_own_takes_at_most_fifteen_lines(tmp_path):
    package = new_package("sampler", "demo", tmp_path)
    source = (package / "src" / "mempost_demo" / "__init__.py").read_text()
    (cls,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    assert cls.name == "Demo"
    assert cls.end_lineno - cls.lineno + 1 <= 15


@pytest.mark.parametrize("kind", KINDS)
def test_packages_are_complete(tmp_path, kind):
    package = new_package(kind, "two_words", tmp_path)
    files = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    assert files == {
        "pyproject.toml",
        "README.md",
        "example.yaml",
        "src/mempost_two_words/__init__.py",
        "tests/test_two_words.py",
    }
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {
        f"mempost.{KINDS[kind].plural}": {"two_words": "mempost_two_words:TwoWords"}
    }
    for path in files:
        assert "$" not in (package / path).read_text()


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("sampelr", "demo", "'sampelr' is not a kind.*Did you mean 'sampler'"),
        ("noises_", "demo", "allowed are prior, operator, sampler, dataset, metric, figure"),
        ("metric", "moments", "a metric named 'moments' exists already, from mempost"),
        ("prior", "My-Prior", "'My-Prior' cannot be a plugin's name"),
        ("prior", "lambda", "'lambda' cannot be a plugin's name"),
        ("prior", "../up", "cannot be a plugin's name"),
        ("prior", "gaussian", "a prior named 'gaussian' exists already, from mempost"),
        ("dataset", "data", "'data' makes a class Data, which the plugin needs itself"),
    ],
)
def test_bad_kinds_and_names_are_refused_with_one_line(tmp_path, kind, name, message):
    with pytest.raises(SpecError, match=message) as caught:
        new_package(kind, name, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    package = new_package("operator", "demo", tmp_path)
    (package / "README.md").write_text("mine")
    with pytest.raises(SpecError, match="exists already"):
        new_package("operator", "demo", tmp_path)
    assert (package / "README.md").read_text() == "mine"
