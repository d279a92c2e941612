"""Merging, dotted paths and sweep points."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mempost.core.errors import SpecError
from mempost.experiments.overrides import (
    deep_merge,
    parse_assignments,
    read_spec,
    set_path,
    sweep_points,
)

plain = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_mappings_merge_and_everything_else_replaces():
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert deep_merge(base, {"a": {"y": [3]}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_another_plugin_replaces_and_null_removes():
    base = {"prior": {"type": "gaussian", "mean": 1}, "samplers": {"a": 1, "b": 2}}
    merged = deep_merge(base, {"prior": {"type": "other"}, "samplers": {"b": None}})
    assert merged == {"prior": {"type": "other"}, "samplers": {"a": 1}}
    assert deep_merge(base, {"prior": {"type": "gaussian", "x": 2}})["prior"] == {
        "type": "gaussian",
        "mean": 1,
        "x": 2,
    }


def test_a_plugin_that_is_named_alone_takes_hyper_parameters():
    base = {"sampler": {"type": "dps", "schedule": "ve"}}
    in_full = {"sampler": {"type": "dps", "schedule": {"type": "ve", "sigma_max": 3.0}}}
    assert deep_merge(base, {"sampler": {"schedule": {"sigma_max": 3.0}}}) == in_full
    assert set_path(base, "sampler.schedule.sigma_max", 3.0) == in_full
    assert base["sampler"]["schedule"] == "ve"
    assert set_path(in_full, "sampler.schedule", "edm")["sampler"]["schedule"] == "edm"


@given(plain)
def test_merging_onto_itself_changes_nothing(value):
    assert deep_merge(value, value) == value


def test_a_path_replaces_what_stands_there():
    raw = {"prior": {"type": "g", "h": 1}, "operator": [{"type": "a"}, {"type": "b"}]}
    assert set_path(raw, "prior.h", 2)["prior"] == {"type": "g", "h": 2}
    assert set_path(raw, "operator.1.width", 3)["operator"][1] == {"type": "b", "width": 3}
    assert raw["prior"]["h"] == 1


def test_setting_a_swept_path_takes_it_out_of_the_sweep():
    raw = {"prior": {"h": 1}, "sweep": {"prior.h": [1, 2], "prior.k": [3]}}
    assert set_path(raw, "prior.h", 5) == {"prior": {"h": 5}, "sweep": {"prior.k": [3]}}
    assert set_path(raw, "sweep", {"prior.h": [9]})["sweep"] == {"prior.h": [9]}
    assert set_path(raw, "sweep.prior.h", [7])["sweep"] == {"prior.h": [7], "prior.k": [3]}


@pytest.mark.parametrize("path", ["", ".", "a..b", "prior.h.x", "priro.h", "operator.7.type"])
def test_paths_that_lead_nowhere(path):
    with pytest.raises(SpecError):
        set_path({"prior": {"h": 1}, "operator": [{"type": "a"}]}, path, 1)


def test_a_sweep_is_a_product_and_zip_walks_together():
    raw = {
        "a": {"x": 0, "y": 0},
        "b": 0,
        "sweep": {"a.x": [1, 2]},
        "zip": {"a.y": [3, 4], "b": {"low": 5, "high": 6}},
    }
    labels = [p for p, _ in sweep_points(raw)]
    assert labels == [
        {"a.x": 1, "a.y": 3, "b": "low"},
        {"a.x": 1, "a.y": 4, "b": "high"},
        {"a.x": 2, "a.y": 3, "b": "low"},
        {"a.x": 2, "a.y": 4, "b": "high"},
    ]
    assert sweep_points(raw)[3][1] == {"a": {"x": 2, "y": 4}, "b": 6}


def test_ranges():
    (_, first), *_, (_, last) = sweep_points(
        {"h": 1, "sweep": {"h": {"from": 0.01, "to": 5, "n": 70, "spacing": "log"}}}
    )
    assert first["h"] == 0.01
    assert last["h"] == 5
    points = [
        p["h"] for _, p in sweep_points({"h": 1, "sweep": {"h": {"from": 0, "to": 1, "n": 5}}})
    ]
    assert points == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    "raw",
    [
        {"sweep": 3},
        {"sweep": {"a": 3}, "a": 1},
        {"sweep": {"a": []}, "a": 1},
        {"zip": {"a": [1, 2], "b": [1]}, "a": 1, "b": 1},
        {"sweep": {"a": [1]}, "zip": {"a": [1]}, "a": 1},
        {"sweep": {"a": list(range(1000)), "b": list(range(1000))}, "a": 1, "b": 1},
        {"sweep": {"a": {"from": 0, "to": 1, "n": 3, "spacing": "log"}}, "a": 1},
        {"sweep": {"a": {"from": 0, "to": 1, "n": 3, "spacing": "lag"}}, "a": 1},
        {"sweep": {"a": {"from": 0, "to": 1, "n": 1}}, "a": 1},
    ],
)
def test_malformed_sweeps(raw):
    with pytest.raises(SpecError):
        sweep_points(raw)


def test_extends(tmp_path):
    (tmp_path / "base.yaml").write_text("title: base\nprior: {type: g, h: 1}\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nprior: {h: 1e-3}\n")
    assert read_spec(tmp_path / "top.yaml") == {"title": "base", "prior": {"type": "g", "h": 0.001}}
    (tmp_path / "base.yaml").write_text("extends: top.yaml\n")
    with pytest.raises(SpecError, match="circle"):
        read_spec(tmp_path / "top.yaml")


def test_assignments_are_yaml():
    parsed = parse_assignments(["a=1e-3", "b.c=[0.5, 1]", "d=x=y"])
    assert parsed == {"a": 0.001, "b.c": [0.5, 1], "d": "x=y"}
    with pytest.raises(SpecError, match="PATH=VALUE"):
        parse_assignments(["a"])


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "a: [1\n", "- 1\n", "", "!!python/object:os.system {}"]
)
def test_yaml_that_is_not_a_spec(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"x\.yaml"):
        read_spec(tmp_path / "x.yaml")


def test_plugins_of_one_type_in_a_sweep_are_told_apart():
    values = [{"type": "dps", "steps": 50, "tile": 1}, {"type": "dps", "steps": 100, "tile": 1}]
    labels = [labels["a"] for labels, _ in sweep_points({"a": {}, "sweep": {"a": values}})]
    assert labels == ["steps=50", "steps=100"]
    values[1]["type"] = "pigdm"
    labels = [labels["a"] for labels, _ in sweep_points({"a": {}, "sweep": {"a": values}})]
    assert labels == ["dps", "pigdm"]


def test_what_a_sweep_replaces_cannot_be_set():
    raw = {"prior": {"bandwidth": 1.0}, "sweep": {"prior": [{"bandwidth": 2.0}]}}
    with pytest.raises(SpecError, match=r"prior\.bandwidth: prior is replaced by sweep"):
        set_path(raw, "prior.bandwidth", 9.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"from": 0.1, "to": 1, "num": 4}, "unknown name 'num'; a range has from, to, n, spacing"),
        ({"from": 0.1, "too": 1, "n": 4}, "Did you mean 'to'"),
        ({"from": 0.1, "to": 1}, "missing 'n'"),
        ({"start": 0.1, "stop": 1, "number": 4}, "a range has from, to, n, spacing"),
    ],
)
def test_a_range_that_is_mistyped_is_not_taken_for_labels(values, message):
    with pytest.raises(SpecError, match=message):
        sweep_points({"a": 1, "sweep": {"a": values}})


def test_null_leaves_a_sampler_out():
    raw = {"samplers": {"a": {"clip": 1.0}, "b": {}}, "sweep": {}}
    assert set_path(raw, "samplers.a", None)["samplers"] == {"b": {}}
    assert set_path(raw, "samplers.a.clip", None)["samplers"]["a"] == {"clip": None}


def test_zip_inside_of_sweep_is_named():
    with pytest.raises(SpecError, match="zip: stands beside sweep"):
        sweep_points({"a": 1, "sweep": {"zip": {"a": [1, 2]}}})
