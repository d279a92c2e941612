"""The command line: what it imports, lists and prints."""

import json
import subprocess
import sys

import jsonschema
import pytest
import yaml

from mempost.core.registry import KINDS, REGISTRIES

LOOK = """
import sys
sys.argv = ["mempost", *{arguments!r}]
from mempost.experiments import cli
try:
    cli.main()
except SystemExit as exit_:
    assert not exit_.code, exit_.code
heavy = [m for m in ("torch", "matplotlib", "scipy", "xarray", "sklearn") if m in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "priors"], ["run", "--help"]])
def test_looking_around_imports_nothing_heavy(arguments):
    code = LOOK.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mempost" in done.stdout or "empirical_gmm" in done.stdout


def test_every_built_in_is_listed_with_its_summary(mempost):
    listed = mempost("list", package=None).stdout
    assert "broken" not in listed and "duplicate" not in listed
    for kind in KINDS:
        for name in REGISTRIES[kind].names:
            summary = REGISTRIES[kind].get(name).summary()
            assert summary and summary.endswith(".")
            assert f"{name} " in listed and summary in listed


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_is_described(kind):
    from mempost.experiments.describe import description

    for name in REGISTRIES[kind].names:
        cls = REGISTRIES[kind].get(name)
        text = description(kind, name)
        for field, info in cls.model_fields.items():
            assert f"  {info.alias or field}: " in text
        assert all(publication.url in text for publication in cls.publications)


def test_the_schema_accepts_shipped_specs_and_refuses_wrong_ones(mempost, tmp_path):
    mempost("schema", "--out", tmp_path / "schema.json", package=None)
    schema = json.loads((tmp_path / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    from pathlib import Path

    for path in Path(__file__).parents[2].glob("configs/*.yaml"):
        validator.validate(yaml.safe_load(path.read_text()))
    spec = yaml.safe_load((Path(__file__).parents[2] / "configs" / "figure1_1d.yaml").read_text())
    for wrong in ({"prior": {"type": "nothing"}}, {"noise": {"std": -1}}, {"unknown": 1}):
        assert not validator.is_valid({**spec, **wrong})


def test_the_schema_knows_plugins_of_somebody_else(mempost):
    schema = json.loads(mempost("schema").stdout)
    names = [a["properties"]["type"]["const"] for a in schema["$defs"]["operator"]["oneOf"][1:]]
    assert "sine" in names and "polynomial" in names


def test_cite(mempost, spec):
    assert "2603.19629" in mempost("cite", spec).stdout
    assert mempost("cite", "nobody").returncode == 2


def test_python_and_shell_give_the_same(shell, tmp_path):
    import mempost as package

    text = {
        "title": "linear",
        "data": {"type": "points", "values": [[0.0, 1.0], [1.0, 0.0]]},
        "prior": {"type": "empirical_gmm", "bandwidth": 0.3},
        "operator": {"type": "linear", "matrix": [[1.0, 2.0]]},
        "noise": {"std": 0.1},
        "observation": {"values": [1.5]},
        "samplers": {"exact": {"type": "exact_lgm"}},
        "metrics": [{"type": "moments"}],
    }
    (tmp_path / "linear.yaml").write_text(yaml.safe_dump(text))
    study = package.run(text, out=tmp_path / "python")
    assert shell("run", tmp_path / "linear.yaml", "--out", tmp_path / "shell").returncode == 0
    tables = [(tmp_path / where / "table.csv").read_bytes() for where in ("python", "shell")]
    assert tables[0] == tables[1]
    assert list(study.table["sampler"]) == ["exact"]
    (result,) = study.results
    assert result.samples.values.shape == (1, 1000, 2)
    # the mean of 1000 draws lies within 4 standard errors of the closed form
    error = (result.samples.flat.mean(0) - result.posterior.mean()).abs()
    assert (error < 4 * result.posterior.std() / 1000**0.5).all()
