"""What is said about accuracy stands in the provenance and the report, not on a terminal alone."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from small_study import SPEC

import mempost
from mempost import Measured, Metric
from mempost.core.cautions import collecting, note
from mempost.core.errors import MempostWarning
from mempost.core.memory import Memory
from mempost.core.registry import REGISTRIES
from mempost.experiments.study import Study
from mempost.plugins.operators.identity import Identity

SHOWN = "ignore::mempost.core.errors.MempostWarning"


def test_blocks_see_each_text_once_and_all_that_is_inside():
    with collecting() as outer, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with collecting() as inner:
            for text in ("a", "b", "a"):
                warnings.warn(text, MempostWarning, stacklevel=1)
            warnings.warn("another kind", UserWarning, stacklevel=1)
        note(["c"])
    assert list(inner) == ["a", "b"] and list(outer) == ["a", "b", "c"]
    note(["nobody listens"])


def test_what_is_remembered_says_it_again():
    memory = Memory(2**20)

    def make() -> float:
        MempostWarning("rough")
        return 1.0

    for _ in range(2):
        with collecting() as said:
            memory.remember(make, "x", 3)
        assert list(said) == ["rough"]


class Rough(Identity):
    """The identity, with a word on its accuracy."""

    def forward(self, x):
        warnings.warn("an error of 19%", MempostWarning, stacklevel=1)
        return super().forward(x)


class Doubtful(Metric):
    """A metric that says something of its number."""

    def evaluate(self, result):
        warnings.warn("few draws", MempostWarning, stacklevel=1)
        return Measured({"doubtful": 1.0})


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(REGISTRIES["operator"]._local, "rough", Rough)
    monkeypatch.setitem(REGISTRIES["metric"]._local, "doubtful", Doubtful)


@pytest.mark.filterwarnings(SHOWN)
def test_warnings_of_tiles_metrics_and_checks_are_kept(tmp_path):
    spec = {
        **SPEC,
        "data": {"type": "points", "values": [[-1.5], [2.5], [2.5]]},  # a copy: validate says so
        "operator": {"type": "rough"},
        "samplers": {"exact": {"type": "exact_lgm"}, "other": {"type": "importance"}},
        "samples": 40,
        "metrics": [{"type": "moments"}, {"type": "doubtful"}],
    }
    study = mempost.run(spec, out=tmp_path)
    assert study.ok
    for run in study.plan.runs:
        path = study.worker.records.path(run, "provenance.json")
        assert json.loads(path.read_text())["warnings"] == ["an error of 19%"]
    for opened in (study, Study.open(tmp_path), mempost.run(spec, out=tmp_path)):
        said = opened.warnings
        assert any("repeat earlier ones" in text for text in said)
        assert "an error of 19% (exact, other)" in said
        assert "few draws (exact, other)" in said
    page = (tmp_path / "report.html").read_text()
    assert "an error of 19%" in page and "few draws" in page and "repeat earlier ones" in page


@pytest.mark.filterwarnings(SHOWN)
def test_a_coarse_grid_is_remembered(tmp_path):
    """Sources and receivers of waves at four points a wavelength; two samplers, one process."""
    models = tmp_path / "models.npy"
    np.save(models, np.random.default_rng(0).uniform(2.0, 2.4, (4, 20, 20)))
    wave = {
        "type": "helmholtz",
        "shape": [20, 20],
        "spacing": 0.04,
        "frequencies": [7.5],
        "stencil": "five_point",
        "sources": {"start": [0.1, 0.1], "stop": [0.7, 0.1], "number": 2},
        "receivers": {"start": [0.1, 0.7], "stop": [0.7, 0.7], "number": 3},
    }
    spec = {
        **SPEC,
        "data": {"type": "file", "path": str(models), "shape": [20, 20]},
        "operator": [wave, {"type": "velocity", "bounds": [1.0, 6.0]}],
        "noise": {"std": 0.01},
        "observation": {"truth": {"type": "train", "indices": [0]}},
        "samplers": {k: {"type": "finite_sample_weights"} for k in ("one", "two")},
    }
    study = mempost.run(spec, out=tmp_path / "out")
    (text,) = study.warnings
    assert "expect a relative error of the data of about" in text and text.endswith("(one, two)")
    assert text.split(" (one")[0] in (tmp_path / "out" / "report.html").read_text()


def test_a_report_repeats_what_is_kept(command, tmp_path):
    from small_study import write

    spec = {**SPEC, "data": {"type": "points", "values": [[0.0], [1.0], [1.0]]}}
    code, said = command("run", write(tmp_path, spec), "--out", tmp_path / "out")
    assert code == 0 and said.count("repeat earlier ones") == 1
    code, said = command("report", tmp_path / "out")
    assert code == 0 and said.count("repeat earlier ones") == 1
