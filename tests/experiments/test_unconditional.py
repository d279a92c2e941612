"""A study that asks no question: draws of priors, without operator, noise and observation."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

import mempost
from mempost.core.errors import SpecError
from mempost.core.prior import FittedPrior
from mempost.experiments.run import load
from mempost.experiments.study import Study

QUESTION = {
    "operator": {"type": "linear", "matrix": [[1.0, 0.5]]},
    "noise": {"std": 0.3},
    "observation": {"values": [0.2]},
}
SPEC = {
    "title": "Draws of a prior",
    "seed": 3,
    "data": {"type": "points", "values": [[-1.0, 0.0], [0.5, 1.0], [2.0, -0.5]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.2, "standardise": True},
    "priors": {"other": {"type": "empirical_gmm", "bandwidth": 0.5}},
    "samplers": {
        "draws": {"type": "reverse_diffusion", "steps": 12},
        "other": {"type": "reverse_diffusion", "steps": 12},
    },
    "samples": 64,
    "metrics": [{"type": "moments"}, {"type": "nearest_neighbour", "k": 2}],
    "figures": [
        {"type": "densities_2d", "reference": "draws"},
        {"type": "memorization_bars"},
    ],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return mempost.run(SPEC, out=tmp_path_factory.mktemp("unconditional"))


def test_it_runs_to_a_table_figures_and_a_report(study):
    assert study.ok, (study.statuses, study.errors)
    assert len(study.figures) == 2
    assert study.table["nn_rate"].notna().all()
    assert "Draws of a prior" in study.store.path("report.html").read_text()


def test_the_files_of_a_run_hold_no_data(study):
    for run in study.plan.runs:
        with xr.open_datatree(study.worker.records.path(run, "result.nc")) as tree:
            assert set(tree.children) == {"posterior", "sample_stats", "constant_data"}
            assert tree["posterior"]["x"].shape == (1, 64, 2)
            assert set(tree["constant_data"].data_vars) == {"location", "scale"}
        kept = json.loads(study.worker.records.path(run, "provenance.json").read_text())
        assert "noise_std" not in kept
        assert kept["seeds"] == {"spec": 3, "observation": None}


def test_the_draws_are_those_of_a_study_with_a_question(study, tmp_path):
    asked = mempost.run({**SPEC, **QUESTION, "figures": []}, out=tmp_path)
    for one, other in zip(study.results, asked.results, strict=True):
        assert torch.equal(one.samples.values, other.samples.values)
    columns = [c for c in study.columns if c not in ("status", "reason", "run")]
    assert columns == [c for c in asked.columns if c not in ("status", "reason", "run")]
    for column in columns[1:]:
        np.testing.assert_array_equal(study.table[column], asked.table[column])


def test_it_opens_again(study):
    again = Study.open(study.store.folder)
    assert [s.state for s in again.statuses] == ["ok", "ok"]
    assert again.results[0].truth is None and again.results[0].problem.question is None
    assert len(again.results[0].samples) == 64


def refused(spec):
    with pytest.raises(SpecError) as caught:
        load(spec)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", QUESTION)
def test_a_question_stands_together_or_not_at_all(name):
    others = [other for other in QUESTION if other != name]
    without = refused({**SPEC, **{k: v for k, v in QUESTION.items() if k != name}})
    assert f"{name}: missing; operator, noise and observation stand together" in without
    alone = refused({**SPEC, name: QUESTION[name]})
    assert f"{', '.join(others)}: missing" in alone


def test_what_needs_data_is_refused_in_one_line():
    conditional = {"samplers": {"draws": {"type": "exact_lgm"}}, "priors": {}}
    assert "samplers.draws draws given data" in refused({**SPEC, **conditional})
    nested = {"type": "distorted", "sampler": {"type": "exact_lgm"}}
    assert "samplers.draws" in refused({**SPEC, "samplers": {"draws": nested}, "priors": {}})
    message = refused({**SPEC, "metrics": [{"type": "moments"}, {"type": "misfit"}]})
    assert "metrics.1 measures given data" in message
    assert "calibration: simulates data" in refused({**SPEC, "calibration": {"truths": 4}})


def test_a_wrapper_of_a_sampler_of_the_prior_needs_no_question(tmp_path):
    wide = {"type": "distorted", "sampler": SPEC["samplers"]["draws"], "scale": 2.0}
    spec = {**SPEC, "samplers": {"draws": wide}, "priors": {}, "metrics": [], "figures": []}
    assert mempost.run(spec, out=tmp_path).ok


TRAINED = {
    **SPEC,
    **QUESTION,
    "prior": {"type": "learned_score", "standardise": True},
    "priors": {"exact": {"type": "empirical_gmm", "bandwidth": 0.2}},
    "samplers": {"draws": {"type": "dps"}, "exact": {"type": "exact_lgm"}},
    "figures": [],
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"operator": {"type": "linear", "matrix": [[1.0, 0.5, 0.1]]}}, "spec: operator: "),
        ({"observation": {"values": [0.2, 0.3]}}, "observation.values: shape (2,), expected (1,)"),
        ({"observation": {"truth": {"type": "train", "indices": [7]}}}, "beyond the 3 training"),
        ({"noise": {"std": 0.3, "complex": True}}, "noise.complex: true, but the data are real"),
        (
            {"observation": {"truth": {"type": "prior"}, "operator": {"type": "identity"}}},
            "observation.operator: gives data of shape (2,), the operator gives (1,)",
        ),
    ],
)
def test_what_does_not_fit_is_found_before_a_prior_is_trained(change, expected, monkeypatch):
    from mempost.experiments.run import check
    from mempost.plugins.priors.learned_score import LearnedScore

    def train(*_: object) -> FittedPrior:
        raise AssertionError("a prior was trained")

    monkeypatch.setattr(LearnedScore, "_fit", train)
    check(load(TRAINED)[0], "spec")
    with pytest.raises(SpecError) as caught:
        check(load({**TRAINED, **change})[0], "spec")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
