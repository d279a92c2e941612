"""A schedule, a network, a guidance and a solver of somebody else, in a study with workers."""

import csv

import pytest

SPEC = """
title: Somebody's parts
seed: 1
data: {type: regular_polygon, n: 5, radius: 1.5}
prior: {type: learned_score, network: {type: gated, width: 16}, schedule: logistic, steps: 60}
operator: {type: identity}
noise: {std: 0.3}
observation: {values: [0.8, 0.1]}
samplers:
  tmpd: {type: tmpd, schedule: {type: logistic, sigma_max: 20.0}, steps: 12}
  dps: {type: dps, schedule: flow_matching, steps: 12}
  guided: {type: guided, guidance: {type: widened, c: 2.0}, solver: ralston, steps: 12}
  rule: {type: dps, rule: widened, solver: dormand_prince}
samples: 64
metrics: [{type: moments}]
"""


def rows(folder):
    with open(folder / "table.csv") as file:
        return {row["sampler"]: row for row in csv.DictReader(file)}


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "somebodys.yaml"
    path.write_text(SPEC)
    return path


def test_they_are_listed_described_and_checked(mempost):
    assert "logistic" in mempost("list", "schedules").stdout
    assert "[mempost-example]" in mempost("list", "network").stdout
    assert "sigma_max: number > 0, default 30.0" in mempost("describe", "logistic").stdout
    assert "laplace" in mempost("list", "noises").stdout
    assert "b: number > 0 or array" in mempost("describe", "laplace").stdout
    for name in ("logistic", "gated", "widened", "ralston", "laplace"):
        checked = mempost("check", name)
        assert checked.returncode == 0, checked.stdout


def test_they_are_trained_on_walked_down_and_found_again(mempost, spec, tmp_path):
    out = tmp_path / "out"
    done = mempost("run", spec, "--out", out, "--workers", 2)
    assert done.returncode == 0, done.stderr
    first = rows(out)
    assert {row["status"] for row in first.values()} == {"ok"}
    kept = {path: path.stat().st_mtime_ns for path in (out / "kept").glob("*.safetensors")}
    assert kept
    # another sampler: the stored prior, with its network, is read and not trained again
    more = mempost("run", spec, "--out", out, "--set", "samplers.tmpd.steps=13")
    assert more.returncode == 0, more.stderr
    assert {path: path.stat().st_mtime_ns for path in (out / "kept").glob("*.safetensors")} == kept
    assert rows(out)["dps"] == first["dps"]


def test_noise_of_somebody_else(mempost, tmp_path):
    path = tmp_path / "noise.yaml"
    path.write_text("""
title: Somebody's noise
prior: {type: gaussian, mean: [0], covariance: [1]}
operator: {type: linear, matrix: [[1], [1], [1]]}
noise: {type: laplace, b: [0.1, 0.2, 0.3]}
observation: {values: [0.5, null, 0.7]}
samplers: {exact: quadrature, mala: {type: mala, warmup: 50, draws: 2}}
samples: 32
metrics: [moments]
""")
    done = mempost("run", path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    refused = mempost("validate", path, "--set", "samplers.mala=tmpd")
    assert "tmpd needs a Gaussian law of the noise, and Laplace has none" in refused.stderr


def test_without_the_package_their_names_are_unknown(mempost, spec):
    unknown = mempost("validate", spec, package=None)
    assert unknown.returncode == 2
    assert "No network has this name; allowed are mlp, residual_mlp" in unknown.stderr
    assert "No schedule has this name" in unknown.stderr
    assert "No guidance has this name; allowed are finite_sample" in unknown.stderr
    assert "No solver has this name; allowed are ddim" in unknown.stderr
