"""Few truths say little: one truth says nothing, and no verdict is made of NaN."""

import math

import pytest

import mempost

SPEC = {
    "title": "few truths",
    "prior": {"type": "gaussian", "mean": [0, 0], "covariance": [1, 1]},
    "operator": "identity",
    "noise": {"std": 1.0},
    "observation": {"values": [0, 0]},
    "samplers": {"exact": "exact_lgm"},
    "samples": 32,
    "metrics": ["sbc", "tarp", "coverage"],
}


@pytest.mark.parametrize("truths", [1, 2, 12])
def test_of_one_truth_nothing_is_said(truths, tmp_path):
    study = mempost.run({**SPEC, "calibration": {"truths": truths}}, out=tmp_path / "out")
    (row,) = study.rows
    if truths == 1:
        assert row["status"] == "failed" and not any(n.startswith(("tarp", "sbc")) for n in row)
        for name in ("sbc", "tarp"):
            assert f"{name} needs two truths or more: raise calibration.truths" in row["reason"]
        assert "TARP" not in " ".join(study.verdicts)
        return
    assert study.ok
    withheld = {"tarp_atc_low", "tarp_atc_high"} if truths < 10 else set()
    numbers = {n: v for n, v in row.items() if n.startswith(("sbc", "tarp", "coverage"))}
    assert {n for n, v in numbers.items() if math.isnan(v)} == withheld
    assert 0 <= row["tarp_p"] <= 1 and row["coverage_0.5_low"] < row["coverage_0.5_high"]
