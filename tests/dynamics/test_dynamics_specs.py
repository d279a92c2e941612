"""The shipped studies of dynamics give the numbers of docs/dynamics.md."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from scipy.stats import binom, chi2

import mempost

CONFIGS = Path(__file__).parents[2] / "configs"


def run(name, out):
    study = mempost.run(CONFIGS / f"{name}.yaml", out=out)
    assert study.ok, study.errors
    with (out / "table.csv").open() as file:
        return list(csv.DictReader(file)), study


@pytest.mark.slow
def test_faces(tmp_path):
    rows, study = run("dynamics_faces", tmp_path)
    assert [round(80 * float(r["on_point"])) for r in rows] == [78, 76]
    assert [round(80 * float(r["on_face"])) for r in rows] == [2, 4]
    assert list(study.figures) == ["trajectories"]


@pytest.mark.slow
def test_paths(tmp_path):
    rows, study = run("dynamics_paths", tmp_path)
    assert all(float(r["on_point"]) == 1 for r in rows)
    for r in rows:
        if r["sampler"] != "slides_sde":
            slopes = [float(r[f"convergence_slope_{q}"]) for q in ("0", "1")]
            assert slopes == pytest.approx([-1, -1], abs=1e-6)
            assert float(r["convergence_paths"]) == 200 and float(r["left_after_entry"]) == 0
    assert {"trajectories", "path_distances", "path_weights"} <= set(study.figures)


def within_law(found, n, p):
    """Within 3 standard errors, or among the counts that binomial chance leaves."""
    low, high = binom.ppf([0.00135, 0.99865], n, p)
    return low <= round(found * n) <= high


@pytest.mark.slow
def test_tikhonov(tmp_path):
    rows, study = run("dynamics_tikhonov", tmp_path)
    for r in rows:
        c = float(r["prior.c"])
        assert float(r["on_point_law"]) == pytest.approx(chi2.cdf(1e-4 / c, 2))
        if c <= 1e-3:
            assert within_law(float(r["on_point"]), 2000, chi2.cdf(1e-4 / c, 2)), r
        assert abs(float(r["score_growth"])) < 0.1
        assert float(r["exact_score_growth"]) == pytest.approx(-2, abs=1e-6)
    assert list(study.figures) == ["limit_fractions", "score_norms"]


@pytest.mark.slow
def test_empirical_bayes(tmp_path):
    rows, _ = run("dynamics_empirical_bayes", tmp_path)
    for r in rows:
        tau = float(r["prior.tau"])
        if tau < 1:
            assert within_law(float(r["on_point"]), 4000, 1 - tau), r


@pytest.mark.slow
def test_posterior_in_both_orders(tmp_path):
    """The flow of the regularised conditional score has the misfit of its law, and its shape."""
    rows, study = run("dynamics_posterior", tmp_path)
    found = {(float(r["prior.c"]), r["sampler"]): r for r in rows}
    for c in (2e-3, 0.02):
        law, flow, exact = (found[c, k] for k in ("score_first", "regularised", "prior_first"))
        error = (float(flow["misfit_high"]) - float(flow["misfit_low"])) / 3.92
        assert abs(float(flow["misfit"]) - float(law["misfit"])) < 3 * 2**0.5 * error
        assert float(exact["misfit"]) < float(law["misfit"]) - 2 * error
        assert float(flow["position_within_low"]) > 0.5 > float(exact["position_within_high"])
    assert list(study.figures) == ["between_references"]
