"""Inputs whose error did not say what is wrong: data, noise, devices, metrics on few draws."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from small_study import SPEC, write

import mempost
from mempost.core.errors import NonFiniteError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.gaussian import Gaussian


def problem(y):
    prior = Gaussian(mean=[0.5, -1.0], covariance=[1.0, 1.0]).fit()
    return InverseProblem(prior, Linear(matrix=[[1.0, 2.0]]), GaussianNoise(0.5), y)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_datum_that_is_no_number_is_named(value):
    with pytest.raises(NonFiniteError, match=r"^datum \[0\] of y is not finite; leave out"):
        problem(torch.tensor([value], dtype=torch.float64))


NO_TENSORS = """
import numpy as np, mempost
from mempost.core.registry import REGISTRIES
prior = REGISTRIES["prior"].get("gaussian")(mean=[0.5], covariance=[1.0]).fit()
operator = REGISTRIES["operator"].get("identity")()
for y in (np.array([1.0]), [1.0], 1.0):
    try:
        mempost.InverseProblem(prior, operator, mempost.GaussianNoise(0.5), y)
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_data_that_are_no_tensor_are_named():
    """In a process of its own: here annotations are checked, and would find them first."""
    done = subprocess.run([sys.executable, "-c", NO_TENSORS], capture_output=True, text=True)
    for kind, line in zip(("ndarray", "list", "float"), done.stdout.splitlines(), strict=True):
        assert line == f"PluginError y is a {kind}; give a tensor, torch.as_tensor(y)"


@pytest.mark.parametrize("std", [1e-300, 1e-160, 1e200])
def test_noise_whose_square_is_no_number_is_named(std, command, tmp_path):
    """Of a datum of zero, which nothing rounds; others are refused by their rounding."""
    code, said = command("run", write(tmp_path, {**SPEC, "noise": {"std": std}}))
    assert code == 2 and said.count("\n") == 1
    assert f"noise std is {std:g}; allowed are numbers from 1e-150 to 1e+150" in said


@pytest.mark.parametrize("device", ["mps", "cuda:77"])
def test_a_device_that_is_not_here_is_one_short_line(device, command, tmp_path):
    code, said = command("validate", write(tmp_path, SPEC), "--set", f"device={device}")
    assert code == 2 and said.count("\n") == 1 and len(said) < 300
    assert f"device: '{device}' cannot be used here" in said


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_a_classifier_that_has_too_few_draws_is_left_out(draws, tmp_path):
    metrics = [{"type": "moments"}, {"type": "energy_distance"}, {"type": "c2st"}]
    study = mempost.run({**SPEC, "samples": draws, "metrics": metrics}, out=tmp_path)
    assert study.ok and {"mean_0", "energy_distance"} <= set(study.columns)
    assert not [c for c in study.columns if c.startswith("c2st")]
    assert any("c2st has no number" in sentence for sentence in study.verdicts)


def test_the_classifier_stays_within_accuracies(tmp_path):
    metrics = [{"type": "c2st", "classifier": "quadratic"}]
    samplers = {**SPEC["samplers"], "other": {"type": "importance", "population": 32}}
    study = mempost.run(
        {**SPEC, "samplers": samplers, "samples": 5, "metrics": metrics}, out=tmp_path
    )
    row = study.table.iloc[1]
    assert 0 <= row.c2st_low <= row.c2st <= row.c2st_high <= 1 and row.c2st_null_high <= 1
