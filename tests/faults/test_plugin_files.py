"""Files that a plugin reads count by their content, however its fields name them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import SPEC
from torch import Tensor

import mempost
from mempost import ForwardOperator, InputFile
from mempost.core.errors import PluginError
from mempost.core.identity import file_hashes
from mempost.core.plugin import Recipe
from mempost.core.registry import REGISTRIES
from mempost.experiments.plan import make_plan


class ByText(ForwardOperator):
    """Multiplies by the number in a file whose path is a text."""

    weights: str

    @property
    def domain_shape(self) -> None:
        return None

    def range_shape(self, domain_shape: tuple[int, ...]) -> tuple[int, ...]:
        return domain_shape

    def forward(self, x: Tensor) -> Tensor:
        return x * float(np.loadtxt(self.weights))


class ByPath(ByText):
    """The same with a path."""

    weights: Path  # type: ignore[assignment]


class ByInputFile(ByText):
    """The same as it should be."""

    weights: InputFile  # type: ignore[assignment]


@pytest.fixture
def operators(monkeypatch):
    registry = REGISTRIES["operator"]
    monkeypatch.setattr(registry, "_local", dict(registry._local))
    for name, cls in (("text", ByText), ("path", ByPath), ("input_file", ByInputFile)):
        registry.register(name, cls)


@pytest.mark.parametrize("name", ["text", "path", "input_file"])
@pytest.mark.parametrize("relative", [False, True])
def test_other_weights_make_another_run(name, relative, operators, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights.txt"
    path = weights.name if relative else str(weights)
    spec = {**SPEC, "operator": {"type": name, "weights": path}, "observation": {"values": [0.5]}}
    shown = []
    for value in (1.0, 3.0, 1.0):
        weights.write_text(str(value))
        study = mempost.run(spec, out=tmp_path / "out")
        shown.append((study.plan.runs[0].id, study.rows[0]["mean_0"]))
    assert shown[0] != shown[1] and shown[0] == shown[2]


class Files(Recipe):
    """Whatever may name a file."""

    anything: Any = None


def test_files_count_inside_of_anything_and_folders_by_what_they_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "run3"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.pt", "deep/b.pt"):
        (folder / name).write_text(name)
    inside = ["models/run3/a.pt", (str(folder / "deep" / "b.pt"),)]
    found = file_hashes(Files(anything={"x": inside}))
    assert [Path(p).name for p in found] == ["b.pt", "a.pt"]
    before = file_hashes(Files(anything="models/run3"))
    (folder / "deep" / "b.pt").write_text("retrained")
    assert file_hashes(Files(anything="models/run3")) != before != {}
    for text in ("mean", "models", ".", "/", "x/y", "no.pt", "a\0b", "x" * 5000 + ".pt", ""):
        assert file_hashes(Files(anything=text)) == {}
    for i in range(1001):
        (folder / f"{i}.txt").touch()
    with pytest.raises(PluginError, match="name a file"):
        file_hashes(Files(anything=folder))


def test_a_path_that_is_not_there_is_no_crash(operators, tmp_path):
    spec = {**SPEC, "operator": {"type": "path", "weights": str(tmp_path / "none.txt")}}
    assert make_plan(spec, "spec").runs
