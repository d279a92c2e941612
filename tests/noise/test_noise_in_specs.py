"""Noise and missing data in a spec: all forms, their values by hand, and what is refused."""

import json

import h5py
import jsonschema
import numpy as np
import pytest
import torch
import yaml

import mempost
from mempost.core.errors import SpecError
from mempost.experiments.overrides import deep_merge
from mempost.experiments.plan import make_plan
from mempost.experiments.run import check
from mempost.experiments.spec import spec_schema

# Two detectors of different quality, as in the field: conjugate Gaussian, prior N(0, 1) for x seen
# by both; precision 1 + 1/0.01 + 1/1 = 102, mean (0.5/0.01 + 2/1)/102 = 0.50980, sd 0.09901.
TWO = yaml.safe_load("""
title: Noise of every datum its own
prior: {type: gaussian, mean: [0], covariance: [1]}
operator: {type: linear, matrix: [[1], [1]]}
noise: {std: [0.1, 1.0]}
observation: {values: [0.5, 2.0]}
samplers: {exact: {type: exact_lgm}}
metrics: [{type: moments}]
""")


def run(tmp_path, **changes):
    study = mempost.run({**TWO, **changes}, out=tmp_path)
    assert study.ok, [row["reason"] for row in study.rows]
    return study


def answer(tmp_path, **changes):
    (row,) = run(tmp_path, **changes).rows
    return row["mean_0"], row["std_0"]


def refusal(tmp_path=None, **changes):
    """The one line of a spec that is refused."""
    with pytest.raises(SpecError) as caught:
        check(make_plan({**TWO, **changes}, "spec"), "spec")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_hand(C, y):
    """Mean and standard deviation for data y of the covariance C, None where missing."""
    kept = [i for i, value in enumerate(y) if value is not None]
    P = np.linalg.inv(np.asarray(C, float)[np.ix_(kept, kept)])
    precision = 1 + P.sum()
    return P.sum(0) @ np.array([y[i] for i in kept]) / precision, precision**-0.5


def test_a_standard_deviation_for_every_datum(tmp_path):
    mean, std = answer(tmp_path)
    assert mean == pytest.approx(0.50980, abs=5e-6) and std == pytest.approx(0.09901, abs=5e-6)


C = [[0.01, 0.05], [0.05, 1.0]]
FORMS = {
    "std": ({"std": [0.1, 1.0]}, np.diag([0.01, 1.0])),
    "std in the shape of the data": ({"std": [[0.1], [1.0]]}, np.diag([0.01, 1.0])),
    "one std": ({"std": 0.3}, np.diag([0.09, 0.09])),
    "relative": ({"relative_to_max": 0.1}, np.diag([0.04, 0.04])),
    "covariance": ({"covariance": C}, C),
    "entries": (
        {
            "covariance_entries": {
                "rows": [0, 1, 1],
                "columns": [0, 0, 1],
                "values": [0.01, 0.05, 1],
            }
        },
        C,
    ),
    "factor": ({"factor": [[0.1, 0.0], [0.5, 0.75**0.5]]}, C),
    "named": ({"type": "gaussian", "std": [0.1, 1.0]}, np.diag([0.01, 1.0])),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_its_value(form, tmp_path):
    noise, covariance = FORMS[form]
    assert answer(tmp_path, noise=noise) == pytest.approx(by_hand(covariance, [0.5, 2.0]))


def files(tmp_path):
    """An array [0.5, NaN] in every format."""
    values = np.array([0.5, np.nan])
    np.save(tmp_path / "y.npy", values)
    np.savez(tmp_path / "y.npz", y=values, other=values)
    (tmp_path / "y.csv").write_text("0.5\nNaN\n")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["y"] = values
    for name in ("y.npy", "y.csv", "y.h5"):
        yield {"type": "file", "path": str(tmp_path / name)}
    yield {"type": "file", "path": str(tmp_path / "y.npz"), "key": "y"}


def test_missing_data_in_every_form(tmp_path):
    expected = by_hand(C, [0.5, None])
    ways = [
        {"values": [0.5, None]},
        {"values": [0.5, float("nan")]},
        {"values": [0.5, 1e9], "missing": [0, 1]},
        *({"values": file} for file in files(tmp_path)),
    ]
    for i, observation in enumerate(ways):
        found = answer(tmp_path / str(i), observation=observation, noise={"covariance": C})
        assert found == pytest.approx(expected), observation


def test_a_file_of_standard_deviations(tmp_path):
    np.save(tmp_path / "std.npy", [0.1, 1.0])
    noise = {"std": {"type": "file", "path": str(tmp_path / "std.npy")}}
    assert answer(tmp_path / "out", noise=noise) == pytest.approx((0.50980, 0.09901), abs=5e-6)
    ids = [make_plan({**TWO, "noise": noise}, "spec").runs[0].id]
    np.save(tmp_path / "std.npy", [0.1, 2.0])
    ids.append(make_plan({**TWO, "noise": noise}, "spec").runs[0].id)
    assert ids[0] != ids[1]  # its content counts


def test_the_type_may_be_left_out_and_means_the_same_run():
    plans = [make_plan({**TWO, "noise": n}, "s") for n in ({"std": 0.3}, FORMS["one std"][0])]
    named = make_plan({**TWO, "noise": {"type": "gaussian", "std": 0.3}}, "s")
    assert len({p.runs[0].id for p in [*plans, named]}) == 1


def test_a_sweep_over_laws(tmp_path):
    laws = {"gaussian": {"std": 0.5}, "t": {"type": "student_t", "scale": 0.5}}
    study = run(
        tmp_path,
        sweep={"noise": laws},
        samplers={"exact": "quadrature"},
        observation={"values": [0.5, 4.0]},
    )
    means = {row["noise"]: row["mean_0"] for row in study.rows}
    assert means["t"] < means["gaussian"] - 0.3


def test_noise_of_another_type_replaces_what_a_spec_extends(tmp_path):
    base = {"noise": {"std": 0.3, "complex": False}}
    assert deep_merge(base, {"noise": {"type": "poisson"}}) == {"noise": {"type": "poisson"}}
    merged = {"noise": {"std": 0.2, "complex": False, "type": "gaussian"}}
    assert deep_merge(base, {"noise": {"type": "gaussian", "std": 0.2}}) == merged
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(TWO))
    over = {"extends": "base.yaml", "noise": {"type": "student_t", "scale": 0.3}}
    (tmp_path / "over.yaml").write_text(yaml.safe_dump({**over, "samplers": {"exact": None}}))
    with pytest.raises(SpecError):  # no sampler is left
        mempost.run(tmp_path / "over.yaml", out=tmp_path / "out")
    over["samplers"] = {"exact": {"type": "quadrature"}}
    (tmp_path / "over.yaml").write_text(yaml.safe_dump(over))
    assert mempost.run(tmp_path / "over.yaml", out=tmp_path / "out").ok


WRONG = [
    ({"noise": {}}, "noise: give one of std, relative_to_max, covariance, covariance_entries"),
    ({"noise": {"std": 1, "covariance": C}}, "found std and covariance"),
    ({"noise": {"std": [0.1]}}, "noise.std: shape (1,), the data have (2,)"),
    ({"noise": {"std": [0.1, -1.0]}}, "noise.std: Input should be greater than 0"),
    ({"noise": {"std": [0.1, None]}}, "noise.std: Input should be a rectangular array of numbers"),
    ({"noise": {"std": [0.1, True]}}, "noise.std: Input should be a rectangular array of numbers"),
    ({"noise": {"std": 10**400}}, "noise.std: Input should be a finite number"),
    ({"noise": {"std": {"type": "file", "path": "no.npy"}}}, "noise.std.path: No file at"),
    ({"noise": {"covariance": [[1, 2], [2, 1]]}}, "noise.covariance: is not positive definite"),
    ({"noise": {"covariance": [[1, 0], [0.1, 1]]}}, "covariance: should be a symmetric"),
    ({"noise": {"covariance": [[1.0]]}}, "noise.covariance: of 1 data, and there are 2"),
    ({"noise": {"covariance": {"real": C, "imag": [[0, 1], [-1, 0]]}}}, "covariance: is complex"),
    ({"noise": {"factor": [[1, 2], [2, 4]]}}, "noise.factor: gives a singular covariance"),
    ({"noise": {"factor": [[1], [2]]}}, "noise.factor: gives a singular covariance"),
    (
        {"noise": {"covariance_entries": {"rows": [0, 0], "columns": [0, 0], "values": [1, 1]}}},
        "covariance_entries: an entry stands twice",
    ),
    (
        {"noise": {"covariance_entries": {"rows": [0, 0, 1], "columns": [0], "values": [1, 1]}}},
        "rows, columns and values have 3, 1 and 2 numbers",
    ),
    ({"noise": {"type": "poison"}}, "noise.type: No noise has this name; allowed are gaussian"),
    ({"noise": "poisson"}, "poisson: datum 0 is 0.5; allowed are counts from 0 times the gain"),
    ({"noise": {"complex": True, "std": 1}}, "noise.complex: true, but the data are real"),
    ({"observation": {"values": [None, None]}}, "observation: every datum is missing"),
    ({"observation": {"values": [0.5, 2.0], "missing": [0, 2]}}, "missing: should hold 0 and 1"),
    ({"observation": {"values": [0.5, 2.0], "missing": [0, 0, 1]}}, "observation.missing: shape"),
    ({"observation": {"values": [0.5, float("inf")]}}, "observation.values: Input should hold"),
    ({"prior": {"type": "gaussian", "mean": [None], "covariance": [1]}}, "prior.mean: Input"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_is_one_line(changes, said):
    assert said in refusal(**changes)


def test_the_schema_knows_noise_with_and_without_a_type():
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(spec_schema())))
    right = [noise for noise, _ in FORMS.values()]
    right += ["poisson", {"type": "student_t", "scale": [1, 2], "nu": 3}, {"type": "poisson"}]
    right += [{"std": {"type": "file", "path": "std.npy"}}]
    for noise in right:
        validator.validate({**TWO, "noise": noise})
    for noise in ({"scale": 1}, {"type": "poisson", "std": 1}, {"std": -1}, "gaussian_", 3):
        assert not validator.is_valid({**TWO, "noise": noise}), noise
    validator.validate({**TWO, "observation": {"values": [0.5, None]}})


def test_the_noise_of_a_datum_does_not_depend_on_who_is_missing(tmp_path):
    """Simulated data: a mask takes data away and leaves the others as they are."""
    observation = {"truth": {"type": "values", "values": [0.7]}}
    operator = {"type": "linear", "matrix": [[1]] * 4}
    noise = {"std": [0.1, 0.2, 0.3, 0.4]}
    common = {"operator": operator, "noise": noise}
    whole = run(tmp_path / "whole", **common, observation=observation).results[0].problem
    masked = {**observation, "missing": [0, 1, 0, 0]}
    some = run(tmp_path / "some", **common, observation=masked).results[0].problem
    there = torch.tensor([True, False, True, True])
    assert torch.equal(some.y[there], whole.y[there]) and bool(some.y[1].isnan())
    assert some.data_dimension == 3


def test_misfit_counts_the_data_that_are_there(tmp_path):
    metrics = [{"type": "misfit"}, {"type": "moments"}]
    study = run(
        tmp_path,
        metrics=metrics,
        noise={"covariance": np.diag([0.01, 1.0, 4.0]).tolist()},
        operator={"type": "linear", "matrix": [[1], [1], [1]]},
        observation={"values": [0.5, None, -3.0]},
        samples=64,
    )
    x = study.results[0].samples.flat.numpy()
    expected = (((0.5 - x) / 0.1) ** 2 + ((-3.0 - x) / 2) ** 2).mean() / 2
    assert study.rows[0]["misfit"] == pytest.approx(expected)


def test_missing_data_are_kept_as_missing(tmp_path):
    study = run(tmp_path, observation={"values": [0.5, None]})
    again = mempost.Study.open(tmp_path)
    (result,) = again.results
    assert bool(result.problem.y[1].isnan()) and result.problem.data_dimension == 1
    provenance = json.loads(next(tmp_path.glob("runs/*/provenance.json")).read_text())
    said = json.dumps(provenance)
    assert "NaN" not in said and '"values": [0.5, null]' in said
    assert study.rows == again.rows
