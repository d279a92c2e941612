"""The benchmark of the score compares what it says it compares, and measures its own memory."""

import math

import pytest
import torch

from mempost.benchmarks import score
from mempost.core.level import NoiseLevel
from mempost.methods.mixtures.kernel_mixture import KernelMixture


def test_both_forms_agree() -> None:
    x, z = score._data(300, 1.5, torch.float64)
    expected = score.difference_tensor_score(z, x, 1.5)
    found = KernelMixture(x, 0.0).score(z, NoiseLevel(1.0, 1.5))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "N", 300)
    rows = score.run(quick=True)
    assert len(rows) == 5
    for row in rows[:-1]:
        assert row["speedup"] == row["difference_tensor_seconds"] / row["seconds"]
        assert row["relative_error"] < 1e-5
    large = rows[-1]
    assert large["speedup"] is None and math.isfinite(large["seconds"])
    # the interpreter and torch take some 250 MiB, the data 38
    assert large["data_mib"] < large["peak_mib"] < 1000 < large["difference_tensor_mib"]
