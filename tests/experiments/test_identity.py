"""What makes two results the same result: hyper-parameters, code, files; and nothing else."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import mempost
from mempost import Measured, Metric, Samples, TiledSampler
from mempost.core.errors import SpecError
from mempost.core.identity import digest, sha256_of
from mempost.core.keeping import content_hash
from mempost.core.plugin import Recipe
from mempost.core.registry import REGISTRIES, Entry
from mempost.core.streams import TILE
from mempost.experiments.run import load
from mempost.experiments.study import Study
from mempost.plugins.datasets.file import File

BASE = {
    "title": "identity",
    "data": {"type": "points", "values": [[-1.0], [1.0]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.5},
    "operator": {"type": "identity"},
    "noise": {"std": 0.3},
    "observation": {"values": [0.0]},
    "samplers": {"a": {"type": "shift"}},
    "samples": 40,
}


def shifted(by: float) -> type[TiledSampler]:
    """A class that is the same in everything but its code."""
    source = f"""
class Shift(TiledSampler):
    shift: float = 0.0

    def sample_tile(self, problem, tile, streams, progress=None):
        x = streams.at(tile).normal((TILE, 1, problem.dimension))
        return Samples({by} + self.shift + 1e-3 * x, {{"x": x}})
"""
    names = {"TiledSampler": TiledSampler, "Samples": Samples, "TILE": TILE, "__name__": "__main__"}
    exec(source, names)
    return names["Shift"]


class Difference(Metric):
    """Difference of means to a sibling."""

    reference: str = "a"

    def evaluate(self, result):
        other = result.sibling(self.reference).samples.flat
        return Measured({"difference": result.samples.flat.mean() - other.mean()})


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(REGISTRIES["sampler"]._local, "shift", shifted(0.0))
    monkeypatch.setitem(REGISTRIES["metric"]._local, "difference", Difference)


def mean(study) -> float:
    return round(float(study.results[0].samples.flat.mean()), 1)


def test_an_edited_class_is_run_again(monkeypatch, tmp_path):
    first = mempost.run(BASE, out=tmp_path)
    again = mempost.run(BASE, out=tmp_path)
    assert [r.id for r in first.plan.runs] == [r.id for r in again.plan.runs]
    monkeypatch.setitem(REGISTRIES["sampler"]._local, "shift", shifted(100.0))
    edited = mempost.run(BASE, out=tmp_path)
    assert (mean(first), mean(edited)) == (0.0, 100.0)
    assert first.plan.runs[0].prior_id == edited.plan.runs[0].prior_id


def test_an_edited_module_is_run_again_and_a_report_of_it_refused(
    mempost, example_package, tmp_path
):
    """A package that is installed for editing keeps its version when its code changes."""
    package, out = shutil.copytree(example_package, tmp_path / "package"), tmp_path / "out"
    spec = tmp_path / "spec.json"
    operator = {"type": "sine", "amplitude": 2.0}
    samplers = {"a": {"type": "quadrature"}}
    spec.write_text(json.dumps({**BASE, "operator": operator, "samplers": samplers}))

    def call(*words):
        return mempost(*words, package=package)

    assert call("run", spec, "--out", out).returncode == 0
    assert "0 tasks to do" in call("run", spec, "--out", out).stderr
    table = (out / "table.csv").read_bytes()
    [module] = [p for p in package.glob("*/*.py") if "Sine" in p.read_text()]
    module.write_text(module.read_text() + "\n# a comment\n")
    assert "0 tasks to do" in call("run", spec, "--out", out).stderr
    module.write_text(module.read_text() + "EDITED = True\n")
    refused = call("report", out)
    assert refused.returncode == 2
    assert f"{module.parent.name}.{module.stem} (" in refused.stderr
    assert (out / "table.csv").read_bytes() == table
    assert "0 tasks to do" not in call("run", spec, "--out", out).stderr
    assert call("report", out).returncode == 0


PROBE = """
import json, sys
from pathlib import Path
import mempost
from mempost.core.keeping import content_hash
from mempost.core.registry import REGISTRIES
from mempost.experiments.plan import make_plan
from mempost.experiments.measuring import Measurements
from mempost.experiments.store import Store

home = Path(mempost.__file__).parent
assert home.is_relative_to(sys.argv[1]), home
spec, edits = json.loads(sys.argv[2]), json.loads(sys.argv[3])

def ids():
    plan = make_plan(spec, "spec")
    [run] = plan.runs
    [one] = Measurements(plan, Store(Path("out"))).of(run)
    kept = [content_hash(REGISTRIES[kind].get(name)()) for kind, name in (
        ("operator", "squared_slowness"), ("prior", "learned_score"), ("sampler", "smc"))]
    return [run.id, run.prior_id, one.id, *kept]

print(json.dumps(ids()))
for name, old, new in edits:
    path = home / name
    before = path.read_text()
    assert old in before, (name, old)
    path.write_text(before.replace(old, new, 1) if old else before + new)
    print(json.dumps(ids()))
    path.write_text(before)
print(json.dumps(ids()))
"""
IDS = ("run", "prior", "measured", "operator", "training", "smc")
EDIT = ("", "\nEDITED = True\n")
IN_DENOISE = (
    "def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:\n",
    "        z = z + 0\n",
)
EDITS = [
    # what sampled, or what it sampled from
    ("methods/mixtures/kernel_mixture.py", *IN_DENOISE, "run prior"),
    ("methods/posteriors/linearised_mixture.py", *EDIT, "run"),
    ("plugins/operators/polynomial.py", *EDIT, "run"),
    ("plugins/datasets/points.py", *EDIT, "run prior"),
    ("core/level.py", *EDIT, "run prior measured training smc"),
    ("core/noise.py", *EDIT, "run prior measured smc"),
    ("core/coordinates.py", *EDIT, "run prior measured training smc"),
    ("experiments/fitting.py", *EDIT, "run prior"),
    ("experiments/build.py", *EDIT, "run"),
    ("experiments/calibration.py", *EDIT, "run"),
    ("experiments/drawing.py", *EDIT, "run"),
    # what measures, shows, or belongs to other runs
    ("plugins/metrics/moments.py", *EDIT, "measured"),
    ("core/metric.py", *EDIT, "measured"),
    ("plugins/figures/marginals.py", *EDIT, ""),
    ("experiments/report/html.py", *EDIT, ""),
    ("experiments/cli.py", *EDIT, ""),
    ("experiments/spec.py", *EDIT, ""),
    ("experiments/worker.py", *EDIT, ""),
    ("plugins/samplers/dps.py", *EDIT, ""),
    ("methods/bibliography.py", *EDIT, ""),
    ("methods/score_matching/training.py", *EDIT, "training"),
    ("plugins/networks/residual_mlp.py", *EDIT, "training"),  # by default, through the registry
    ("plugins/schedules/ve.py", *EDIT, "training"),
    ("methods/chains/tempered_population.py", *EDIT, "smc"),
    # what does not run
    ("core/noise.py", "", "\n# a comment\n\n\n", ""),
    ("core/noise.py", '"""', "More words. ", ""),
]


def test_what_is_edited_in_a_copy_decides_what_is_run_again(tmp_path):
    """Ids over edits of single files in a copy of the tree."""
    copy = shutil.copytree(
        Path(mempost.__file__).parent,
        tmp_path / "mempost",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    spec = BASE | {
        "observation": {"truth": {"type": "prior"}},
        "operator": {"type": "polynomial", "coefficients": [0, 1, 0, 0.3]},
        "samplers": {"a": {"type": "exact_lgm"}},
        "metrics": [{"type": "moments"}],
        "figures": [{"type": "marginals"}],
    }
    edits = [(name, old, old + new) for name, old, new, _ in EDITS]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path), json.dumps(spec), json.dumps(edits)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    before, *after, restored = [json.loads(line) for line in done.stdout.splitlines()]
    assert restored == before and copy.is_dir()
    changed = [
        (name, new, " ".join(what for what, a, b in zip(IDS, before, ids, strict=True) if a != b))
        for (name, _, new, _), ids in zip(EDITS, after, strict=True)
    ]
    wrong = [c for c, (*_, expected) in zip(changed, EDITS, strict=True) if c[-1] != expected]
    assert wrong == []


def test_what_is_kept_depends_on_the_code(monkeypatch):
    names = {content_hash(cls()) for cls in (shifted(0.0), shifted(0.0), shifted(1.0))}
    assert len(names) == 2


def test_properties_and_class_methods_of_a_notebook_count_too():
    kinds = []
    for member in ("@property\n    def n(self)", "@classmethod\n    def n(cls)"):
        for value in (1, 2):
            names = {"Recipe": Recipe, "__name__": "__main__"}
            exec(f"class Some(Recipe):\n    {member}:\n        return {value}\n", names)
            kinds.append(names["Some"])
    assert len({content_hash(kind()) for kind in kinds}) == 4


def test_files_count_by_content_wherever_they_are(tmp_path):
    ids = []
    for folder, values in (
        ("one", [[1.0], [2.0]]),
        ("two", [[1.0], [2.0]]),
        ("three", [[1.0], [3.0]]),
    ):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "x.npy", np.array(values))
        spec = {**BASE, "data": {"type": "file", "path": tmp_path / folder / "x.npy"}}
        ids.append(load(spec)[0].runs[0].id)
        data = File(path=tmp_path / folder / "x.npy")
        assert content_hash(data) == content_hash(data)
    assert ids[0] == ids[1] != ids[2]


def test_a_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(3))
    before = sha256_of(path)
    np.save(path, np.ones(3))
    assert sha256_of(path) != before


def test_a_digest_depends_on_every_part():
    plain = digest({"a": 1}, [])
    assert digest({"a": 1}, []) == plain
    assert len({plain, digest({"a": 2}, []), digest({"a": 1}, [shifted(0.0)()])}) == 3


def test_the_same_run_beside_other_siblings_is_measured_against_them(tmp_path):
    spec = BASE | {
        "samplers": {"a": {"type": "shift"}, "b": {"type": "shift", "shift": 10.0}},
        "sweep": {"samplers.a.shift": [0.0, 1.0, 2.0]},
        "metrics": [{"type": "difference"}],
    }
    study = mempost.run(spec, out=tmp_path / "one")
    found = study.table.query("sampler == 'b'")["difference"].round(1).tolist()
    assert found == [10.0, 9.0, 8.0]
    points = [r.point["samplers.a.shift"] for r in study.results]
    assert points == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    mempost.run(spec, set={"sweep": {"samplers.a.shift": [0.0]}}, out=tmp_path / "two")
    assert mempost.run(spec, out=tmp_path / "two").rows == study.rows


def test_two_metrics_of_one_column_are_refused(tmp_path):
    spec = {**BASE, "metrics": [{"type": "moments"}, {"type": "moments"}]}
    [status] = mempost.run(spec, out=tmp_path).statuses
    assert status.state == "failed"
    assert "metrics.1 (moments): an earlier metric has the column" in status.reason


def test_plugins_of_this_process_are_no_work_for_workers(tmp_path):
    with pytest.raises(SpecError, match="workers see plugins with an entry point only"):
        mempost.run(BASE, out=tmp_path, workers=2)


def test_values_from_a_notebook(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[-1.0], [1.0]]))
    data = {"type": "file", "path": tmp_path / "x.npy"}
    study = mempost.run({**BASE, "data": data}, out=tmp_path / "out")
    assert study.ok
    assert "x.npy" in (tmp_path / "out" / "report.html").read_text()
    for values in (np.array([1 + 2j]), torch.tensor([1 + 2j])):
        with pytest.raises(SpecError, match=r"observation\.values: are complex"):
            load_and_check({**BASE, "observation": {"values": values}})
    with pytest.raises(SpecError, match="device: 'cuda'"):
        if torch.cuda.is_available():
            pytest.skip("there is CUDA")
        load_and_check({**BASE, "device": "cuda"})


def load_and_check(spec):
    from mempost.experiments.run import check

    check(load(spec)[0], "spec")


def test_a_folder_that_moved_is_opened(tmp_path):
    mempost.run(BASE, out=tmp_path / "one")
    shutil.move(tmp_path / "one", tmp_path / "two")
    assert Study.open(tmp_path / "two").ok


def test_a_class_that_a_package_passes_on_is_known_by_its_entry(tmp_path, monkeypatch):
    """``saturation = "package:Saturation"`` where package/__init__.py imports it from .inner."""
    package = tmp_path / "passing_on"
    package.mkdir()
    package.joinpath("__init__.py").write_text("from .inner import Original as Renamed\n")
    package.joinpath("inner.py").write_text(
        "from mempost.plugins.operators.identity import Identity\n"
        'class Original(Identity):\n    """An identity of somebody else."""\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = REGISTRIES["operator"]
    entry = Entry("operator", "elsewhere", "passing_on:Renamed", "somebody", "1.0")
    monkeypatch.setitem(registry.candidates, "elsewhere", [entry])
    assert entry.summary() == "An identity of somebody else."
    assert registry.name_of(registry.get("elsewhere")) == "elsewhere"
    spec = {**BASE, "operator": {"type": "elsewhere"}}
    assert mempost.run(spec, out=tmp_path / "out").ok


def test_a_metric_without_any_number_says_so(tmp_path):
    study = mempost.run({**BASE, "metrics": [{"type": "moments"}, {"type": "sbc"}]}, out=tmp_path)
    [said] = [line for line in study.verdicts if "no number" in line]
    assert said.startswith("sbc has no number for any run")
    assert said in study.verdicts and "sbc has no number" in (tmp_path / "report.html").read_text()


def test_chains_of_a_calibration_are_not_compared(tmp_path):
    """They belong to different data: exact draws would have an R-hat far above 1."""
    exact = {"samplers": {"a": {"type": "exact_lgm"}}, "calibration": {"truths": 8}}
    study = mempost.run({**BASE, **exact, "metrics": [{"type": "mcmc"}]}, out=tmp_path)
    assert study.ok and "r_hat" not in study.columns


def test_an_operator_that_acts_on_standardised_states_is_pointed_out():
    standardised = {"type": "empirical_gmm", "bandwidth": 0.5, "standardise": True}
    with pytest.warns(UserWarning, match="operator acts on standardised states"):
        load_and_check({**BASE, "prior": standardised})
    raw = [{"type": "identity"}, {"type": "standardise", "from": "prior"}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_and_check({**BASE, "prior": standardised, "operator": raw})
