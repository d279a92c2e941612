"""Draws for many truths, priors of single samplers, and preparation in parts."""

import numpy as np
import pytest
import torch

import mempost
from mempost.core import keeping
from mempost.core.errors import SpecError
from mempost.core.operator import compose
from mempost.core.prior import State
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.experiments.run import load
from mempost.experiments.runner import Watcher, graph_of
from mempost.experiments.store import KeptFolder, Store
from mempost.experiments.study import Study

SPEC = {
    "title": "many truths",
    "seed": 3,
    "data": {
        "type": "gaussian",
        "mean": [0.0, 1.0],
        "covariance": [[1.0, 0.0], [0.0, 4.0]],
        "n_train": 6,
        "n_held_out": 50,
    },
    "prior": {"type": "empirical_gmm", "bandwidth": 0.4, "standardise": True},
    "priors": {"atoms": {"type": "empirical_gmm", "bandwidth": 0.0}},
    "operator": {"type": "polynomial", "coefficients": [0, 1, 0, 0.1]},
    "noise": {"std": 0.5},
    "observation": {"values": [0.0, 0.0]},
    "calibration": {"truths": 70},
    "samplers": {"lgm": {"type": "exact_lgm"}, "atoms": {"type": "finite_sample_weights"}},
    "samples": 12,
}


class Interrupt(Watcher):
    """Ctrl-C after a number of tasks."""

    def __init__(self, after):
        self.left = after

    def done(self, outcome):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def draws(study):
    return {r.key: r.samples for r in study.results}


def test_every_truth_gets_its_own_data_and_draws(tmp_path):
    study = mempost.run(SPEC, out=tmp_path / "out")
    assert study.ok
    found = draws(study)
    assert found["lgm"].values.shape == (70, 12, 2)
    assert found["lgm"].truths.shape == (70, 2)
    assert len(found["lgm"].values.flatten(0, 1).unique(dim=0)) == 70 * 12
    assert all(result.truth is None for result in study.results)


def test_truths_are_the_same_for_all_samplers_in_their_own_coordinates(tmp_path):
    results = {r.key: r for r in mempost.run(SPEC, out=tmp_path / "out").results}
    raw = {key: r.problem.prior.coordinates.to_raw(r.samples.truths) for key, r in results.items()}
    torch.testing.assert_close(raw["lgm"], raw["atoms"], rtol=1e-12, atol=1e-12)
    atoms = results["atoms"].problem.prior
    assert (atoms.means[:, None] == results["atoms"].samples.flat).all(-1).any(0).all()
    assert not torch.equal(results["lgm"].problem.prior.means, atoms.means)


def test_draws_follow_their_truths(tmp_path):
    """Draws given y_i are nearer to x_i than to another truth: the streams are not mixed up."""
    x = draws(mempost.run(SPEC, out=tmp_path / "out"))["lgm"]
    distance = torch.cdist(x.truths, x.values.mean(1))
    own, others = distance.diagonal().mean(), distance.mean()
    assert own < 0.5 * others


def test_an_interrupted_calibration_goes_on_to_the_same_bits(tmp_path):
    whole = draws(mempost.run(SPEC, out=tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        mempost.run(SPEC, out=tmp_path / "cut", watcher=Interrupt(2))
    kept = len(list((tmp_path / "cut").glob("runs/*/tiles/*.safetensors")))
    assert 1 <= kept <= 3
    resumed = draws(mempost.run(SPEC, out=tmp_path / "cut"))
    for key, x in whole.items():
        assert torch.equal(x.values, resumed[key].values)
        assert torch.equal(x.truths, resumed[key].truths)


@pytest.mark.parametrize("source", ["train", "held_out"])
def test_examples_as_truths(tmp_path, source):
    number = {"train": 6, "held_out": 50}[source]
    setting = {"calibration": {"truths": number, "source": source}}
    result = mempost.run(SPEC, set=setting, out=tmp_path / source).results[0]
    examples = {"train": result.data.train, "held_out": result.data.held_out}[source]
    assert torch.equal(result.samples.truths, examples)


def test_too_few_examples_are_named(tmp_path):
    setting = {"calibration": {"truths": 51, "source": "held_out"}}
    study = mempost.run(SPEC, set=setting, out=tmp_path / "out")
    assert "51, and there are 50 examples (held_out)" in study.rows[0]["reason"]


def test_a_prior_for_no_sampler_is_refused():
    with pytest.raises(SpecError, match=r"priors names the sampler 'atom'.*'atoms'"):
        mempost.run({**SPEC, "priors": {"atom": SPEC["prior"]}})


def test_another_prior_leaves_data_and_truth_as_they_are(tmp_path):
    spec = {k: v for k, v in SPEC.items() if k != "calibration"}
    spec["observation"] = {"truth": {"type": "train", "indices": [0, 1]}}
    results = {r.key: r for r in mempost.run(spec, out=tmp_path / "out").results}
    assert torch.equal(results["lgm"].problem.y, results["atoms"].problem.y)
    raw = [r.problem.prior.coordinates.to_raw(r.truth) for r in results.values()]
    torch.testing.assert_close(raw[0], raw[1], rtol=1e-12, atol=1e-12)
    assert results["atoms"].problem.prior.bandwidth == 0.0


def test_branches_are_independent_streams():
    base = Streams(5, "sampling")
    x = torch.stack([base.branch(i).at().normal((400,)) for i in range(40)])
    correlation = np.corrcoef(x.numpy())
    off = correlation[~np.eye(40, dtype=bool)]
    assert abs(off).max() < 6 / np.sqrt(400)  # 780 pairs, each N(0, 1/400)
    assert torch.equal(base.branch(3).at().normal((4,)), x[3, :4])


def test_a_shelf_keeps_names_and_refuses_damage(tmp_path):
    shelf = KeptFolder(Store(tmp_path))
    name = keeping.content_hash("thing", torch.arange(3))
    assert name != keeping.content_hash("thing", torch.arange(3).double())
    assert keeping.load(name) is None and not keeping.holds(name)
    with keeping.keeping(shelf):
        keeping.save(name, State({"x": torch.arange(3)}, {"n": 3}))
        assert keeping.holds(name)
        state = keeping.load(name)
        assert torch.equal(state.tensors["x"], torch.arange(3)) and state.values == {"n": 3}
        path = tmp_path / "kept" / f"{name}.safetensors"
        whole = path.read_bytes()
        for damaged in (whole[:-5], whole[:-3] + b"\1" + whole[-2:]):
            path.write_bytes(damaged)
            with pytest.warns(UserWarning, match="corrupt and not used"):
                assert keeping.load(name) is None
        keeping.drop(name)
        assert not keeping.holds(name)


def test_recipes_within_recipes_are_told_apart_by_type():
    slowness, velocity = (REGISTRIES["operator"].get(n)() for n in ("slowness", "velocity"))
    assert slowness.model_dump() == velocity.model_dump()
    names = {keeping.content_hash(compose([op])) for op in (slowness, velocity)}
    assert len(names | {keeping.content_hash(op) for op in (slowness, velocity)}) == 4


def test_parts_come_before_sampling_and_one_run_after_the_other(tmp_path, monkeypatch):
    from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights

    monkeypatch.setattr(FiniteSampleWeights, "preparations", property(lambda self: 2))
    spec = {k: v for k, v in SPEC.items() if k not in ("calibration", "priors")}
    spec["samplers"] = {"a": {"type": "finite_sample_weights"}}
    spec["sweep"] = {"noise.std": [0.5, 0.6]}
    plan, _ = load(spec)
    graph = graph_of(Study(plan, Store(tmp_path)).worker)
    parts = [t for t in graph if t.kind == "prepare"]
    assert [(t.run, t.part) for t in parts] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert graph[parts[2]] == (parts[0],) and graph[parts[3]] == (parts[1],)
    sample = next(t for t in graph if t.kind == "sample" and t.run == 1)
    assert graph[sample] == (parts[2], parts[3])
