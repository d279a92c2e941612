"""Pictures of calibration show what was measured, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_posteriors import drawn, result_of

from mempost.core.errors import PluginError
from mempost.core.figure import Picture
from mempost.core.result import Result
from mempost.plugins.figures.coverage_curves import CoverageCurves
from mempost.plugins.figures.rank_ecdf import RankECDF
from mempost.plugins.metrics.coverage import Coverage
from mempost.plugins.metrics.sbc import SimulationBasedCalibration
from mempost.plugins.metrics.tarp import TARP


@pytest.fixture
def result() -> Result:
    found = result_of(*drawn("mixture", 200, 15))
    for metric in (SimulationBasedCalibration(), TARP(), Coverage()):
        found.measured.update(metric.evaluate(found))
    return found


def test_only_numbers_go_to_the_table(result: Result) -> None:
    assert list(SimulationBasedCalibration().evaluate(result).columns) == [
        "sbc_p", "sbc_folded_p", "sbc_shift", "sbc_width", "sbc_truths"
    ]  # fmt: skip
    assert list(TARP().evaluate(result).columns) == [
        "tarp_atc",
        "tarp_atc_low",
        "tarp_atc_high",
        "tarp_p",
    ]
    assert not [name for name in Coverage().evaluate(result).columns if "curve" in name]


def test_ranks_are_those_of_the_truths(result: Result) -> None:
    """For continuous draws the share of ranks below 1/2 is that of truths below their median."""
    (picture,) = RankECDF().draw([result])
    left, right = picture.canvas.axes
    samples = result.samples
    below = (samples.values < samples.truths[:, None]).double().mean(1)  # type: ignore[index]
    lines = {line.get_label(): line.get_xydata() for line in left.lines}
    for i, name in enumerate(("$x_1$", "$x_2$")):
        u, off = lines[name].T  # type: ignore[union-attr]
        share = float((below[:, i] < 0.5).double().mean())
        assert off[250] == pytest.approx(share - 0.5, abs=0.06)  # 15 draws: steps of 1/16
        assert off[0] == pytest.approx(0) and off[-1] == pytest.approx(0)
        assert np.allclose(u, np.linspace(0, 1, 501))
    assert len(right.lines) == len(left.lines)
    assert f"p = {float(result.measured['sbc_p']):.2g} and" in picture.caption


def test_curves_agree_with_the_table(result: Result) -> None:
    (picture,) = CoverageCurves().draw([result])
    left, right = picture.canvas.axes
    level, covered = next(x for x in left.lines if x.get_label() == result.key).get_data()
    for nominal in (0.5, 0.9):
        value = float(result.measured["coverage"].sel(level=nominal, bound="value"))
        assert np.interp(nominal, level, covered) == pytest.approx(value, abs=1e-12)
        assert f"{value:.3g}" in picture.caption
    alpha, inside = right.lines[0].get_data()
    upper = alpha >= 0.5
    area = np.trapezoid((inside - alpha)[upper], alpha[upper])  # type: ignore[index]
    atc = float(result.measured["tarp_atc"].sel(bound="value"))
    assert area == pytest.approx(atc, abs=1e-3)


@pytest.mark.parametrize(
    ("variable", "panel"), [("sbc_ecdf", 0), ("sbc_folded_ecdf", 1), ("tarp_curve", 3)]
)
def test_a_picture_follows_what_is_stored(result: Result, variable: str, panel: int) -> None:
    def line() -> np.ndarray:
        pictures: list[Picture] = [*RankECDF().draw([result]), *CoverageCurves().draw([result])]
        axes = [ax for picture in pictures for ax in picture.canvas.axes]
        lines = [x for x in axes[panel].lines if len(np.asarray(x.get_xdata())) == 501]
        return np.asarray(lines[0].get_ydata())

    before = line()
    result.measured[variable] = result.measured[variable] + 0.125
    assert np.allclose(line() - before, 0.125)


def test_metrics_that_are_missing_are_named(result: Result) -> None:
    for name in ("sbc_ecdf", "tarp_curve"):
        del result.measured[name]
    with pytest.raises(PluginError, match=r"add \{type: sbc\} to the metrics"):
        list(RankECDF().draw([result]))
    with pytest.raises(PluginError, match=r"add \{type: tarp\} to the metrics"):
        list(CoverageCurves().draw([result]))


def test_the_band_is_around_the_uniform_law(result: Result) -> None:
    z, low, high = result.measured["sbc_band"].values.T
    assert z[0] == low[0] == high[0] == 0 and z[-1] == low[-1] == high[-1] == 1
    assert torch.tensor(low <= z).all() and torch.tensor(z <= high).all()
