"""What no run of a study uses any more is shown, and removed when it is asked for, alone."""

import pytest
import torch
from typer.testing import CliRunner

import mempost
from mempost import Samples, TiledSampler
from mempost.core import keeping
from mempost.core.prior import State
from mempost.core.registry import REGISTRIES
from mempost.core.sizes import readable
from mempost.core.streams import TILE
from mempost.experiments.cli import app
from mempost.experiments.leftovers import leftovers
from mempost.experiments.study import Study

BASE = {
    "title": "prune",
    "data": {"type": "points", "values": [[-1.0], [1.0]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.5},
    "operator": {"type": "identity"},
    "noise": {"std": 0.3},
    "observation": {"values": [0.0]},
    "samplers": {"a": {"type": "keeper"}},
    "samples": 4,
    "sweep": {"samplers.a.shift": [0.0, 1.0, 2.0]},
    "metrics": [{"type": "moments"}],
}


class Keeper(TiledSampler):
    """Keeps a thing of its own, and one that all have in common."""

    shift: float = 0.0

    def sample_tile(self, problem, tile, streams, progress=None):
        for name in ("common", f"own-{self.shift:.0f}"):
            if keeping.load(name) is None:
                keeping.save(name, State({"x": torch.ones(3)}, {}))
        x = streams.at(tile).normal((TILE, 1, problem.dimension))
        return Samples(self.shift + x)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A study over three shifts, run again with one of them; and what belongs to nobody."""
    monkeypatch.setitem(REGISTRIES["sampler"]._local, "keeper", Keeper)
    out = tmp_path / "out"
    mempost.run(BASE, out=out)
    strange = [
        out / "runs" / "notes.txt",
        out / "runs" / "0123456789abcdef.backup" / "result.nc",
        out / "kept" / "unknown.safetensors",
        out / "kept" / "mine.txt",
        tmp_path / "elsewhere" / "result.nc",
    ]
    for path in strange:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("somebody's")
    (out / "runs" / ("a" * 16)).symlink_to(tmp_path / "elsewhere")
    mempost.run(BASE, set={"sweep": {"samplers.a.shift": [2.0]}}, out=out)
    return out


def files(out):
    return {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() or p.is_symlink()}


def test_what_is_left_over_is_shown_and_removed_alone(folder):
    study = Study.open(folder)
    found = leftovers(study)
    kinds = [item.path.relative_to(folder).parts[0] for item in found]
    assert kinds == ["runs", "runs", "kept", "kept"]
    assert {item.what for item in found[:2]} == {
        "run of a, samplers.a.shift=0.0",
        "run of a, samplers.a.shift=1.0",
    }
    assert [item.path.stem for item in found[2:]] == ["own-0", "own-1"]
    assert all(item.size > 100 for item in found)
    before = files(folder)

    shown = CliRunner().invoke(app, ["prune", str(folder)])
    assert shown.exit_code == 0 and files(folder) == before
    assert "4 left over" in shown.output and "nothing was removed" in shown.output
    assert all(str(item.path.relative_to(folder)) in shown.output for item in found)

    removed = CliRunner().invoke(app, ["prune", str(folder), "--yes"])
    assert removed.exit_code == 0 and "removed" in removed.output
    gone = {path for path in before if any((folder / path).is_relative_to(f.path) for f in found)}
    assert files(folder) == before - gone and len(gone) >= 8
    assert Study.open(folder).ok and leftovers(Study.open(folder)) == []
    assert "nothing is left over" in CliRunner().invoke(app, ["prune", str(folder)]).output


def test_a_report_lists_them_and_a_run_says_how_many(folder):
    said = CliRunner().invoke(app, ["report", str(folder)]).output
    assert said.count("left over: ") == 2 and "samplers.a.shift=1.0" in said
    assert "2 runs in" in said and "`mempost prune" in said


def test_numbers_of_other_metrics_are_left_over(folder):
    metrics = [{"type": "mcmc"}]
    mempost.run(BASE | {"sweep": {"samplers.a.shift": [2.0]}, "metrics": metrics}, out=folder)
    found = [item for item in leftovers(Study.open(folder)) if item.what == "numbers of a metric"]
    assert len(found) == 1 and len(list(found[0].path.parent.iterdir())) == 2


def test_sizes_are_readable():
    assert [readable(n) for n in (999, 1000, 1_500_000, 2 * 10**12)] == [
        "999 B",
        "1.0 kB",
        "1.5 MB",
        "2.0 TB",
    ]
