"""Expected coverage of random balls, and coverage of intervals, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from toy_posteriors import PRIORS, distorted, drawn, result_of

from mempost.core.streams import Streams
from mempost.plugins.metrics.coverage import Coverage, interval_levels
from mempost.plugins.metrics.tarp import TARP, credibilities

NOISE = 0.7


def isotropic(
    d: int, truths: int, draws: int, width: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """x ~ N(0, I), y = x + noise; draws from the posterior with its width multiplied."""
    stream = Streams(seed, "truth").at()
    x = stream.normal((truths, d))
    y = x + NOISE * stream.normal((truths, d))
    s = math.sqrt(NOISE**2 / (1 + NOISE**2))
    mean = y / (1 + NOISE**2)
    return x, mean[:, None] + width * s * stream.normal((truths, draws, d))


def expected_coverage(alpha: np.ndarray, d: int, width: float) -> np.ndarray:
    """ECP(alpha) of `isotropic` for r ~ N(0, I).

    In units of the posterior's s, with delta = (m - r)/s: |x - r|^2 is noncentral chi-squared
    (d, |delta|^2) for the truth and width^2 times that with |delta|^2/width^2 for draws, while
    |delta|^2 is (1 - s^2 + 1)/s^2 times a chi-squared number, whose quantiles are averaged over.
    """
    s2 = NOISE**2 / (1 + NOISE**2)
    levels = (np.arange(500) + 0.5) / 500
    lam = (2 - s2) / s2 * scipy.stats.chi2.ppf(levels, d)[:, None]
    radius = width**2 * scipy.stats.ncx2.ppf(alpha, d, lam / width**2)
    return scipy.stats.ncx2.cdf(radius, d, lam).mean(0)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("width", [0.6, 1.0, 1.5])
def test_curve_of_a_gaussian_of_the_wrong_width(d: int, width: float) -> None:
    truths, draws = 2000, 400
    result = result_of(*isotropic(d, truths, draws, width))
    u = credibilities(result).numpy()
    alpha = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
    found = (u[:, None] < alpha).mean(0)
    expected = expected_coverage(alpha, d, width)
    # binomial error, and the resolution 1/(2 draws) times the slope
    assert np.abs(found - expected).max() < 4 * 0.5 / math.sqrt(truths) + 2 / draws
    fine = 0.5 + (np.arange(200) + 0.5) / 400
    area = float((expected_coverage(fine, d, width) - fine).mean()) / 2
    columns = TARP().evaluate(result).columns
    assert columns["tarp_atc"] == pytest.approx(area, abs=4 * 0.15 / math.sqrt(truths) + 1 / draws)
    assert columns["tarp_atc_low"] < columns["tarp_atc"] < columns["tarp_atc_high"]
    if width == 1:
        assert columns["tarp_p"] > 1e-4 and np.abs(expected - alpha).max() < 1e-4
    else:
        assert columns["tarp_p"] < 1e-4 and columns["tarp_atc"] * (width - 1) > 0


@pytest.mark.parametrize("kind", list(PRIORS))
def test_exact_draws_pass(kind: str) -> None:
    result = result_of(*drawn(kind, 1000, 63))
    result.measured.update(TARP().evaluate(result))
    assert float(result.measured["tarp_p"]) > 1e-4
    assert "covers as it should" in TARP().verdict([result])[0]


def test_wrong_draws_are_named() -> None:
    truths, values = drawn("gaussian", 2000, 99)
    for scale, words in ((0.7, "too narrow, or biased"), (1.4, "too wide")):
        result = result_of(truths, distorted(values, scale))
        result.measured.update(TARP().evaluate(result))
        assert words in TARP().verdict([result])[0]


def test_area_is_the_integral_of_the_curve() -> None:
    result = result_of(*drawn("mixture", 300, 20))
    u = np.sort(credibilities(result).numpy())
    fine = 0.5 + (np.arange(20000) + 0.5) / 40000
    curve = np.searchsorted(u, fine, side="right") / len(u)
    atc = TARP().evaluate(result).columns["tarp_atc"]
    assert atc == pytest.approx((curve - fine).mean() / 2, abs=1e-4)


def test_nothing_outside_of_calibration() -> None:
    result = result_of(None, drawn("mixture", 2, 8)[1])
    assert TARP().evaluate(result).columns == {} and Coverage().evaluate(result).columns == {}
    assert TARP().verdict([result]) == [] and Coverage().verdict([result]) == []


@pytest.mark.parametrize("kind", list(PRIORS))
@pytest.mark.parametrize("draws", [4, 63])
def test_exact_draws_cover_at_every_level(kind: str, draws: int) -> None:
    """For atoms and for four draws too: the level is right by randomisation."""
    truths = 2000
    columns = Coverage(levels=(0.5, 0.9)).evaluate(result_of(*drawn(kind, truths, draws))).columns
    for level in (0.5, 0.9):
        error = math.sqrt(level * (1 - level) / truths)
        assert columns[f"coverage_{level}"] == pytest.approx(level, abs=4 * error)


@pytest.mark.parametrize("width", [0.6, 1.5])
def test_coverage_of_a_gaussian_of_the_wrong_width(width: float) -> None:
    """P(|z| <= width q_c)."""
    truths, draws = 2000, 400
    metric = Coverage(levels=(0.5, 0.8, 0.95))
    columns = metric.evaluate(result_of(*isotropic(1, truths, draws, width))).columns
    for level in metric.levels:
        q = scipy.stats.norm.ppf(0.5 + level / 2)
        expected = 2 * scipy.stats.norm.cdf(width * q) - 1
        error = math.sqrt(expected * (1 - expected) / truths)
        name = f"coverage_{level}"
        assert columns[name] == pytest.approx(expected, abs=4 * error + 2 / draws)
        assert columns[f"{name}_low"] <= columns[name] <= columns[f"{name}_high"]
        assert columns[f"{name}_high"] - columns[f"{name}_low"] == pytest.approx(
            2 * 1.96 * error, rel=0.3
        )
        s = math.sqrt(NOISE**2 / (1 + NOISE**2))
        assert columns[f"width_{level}"] == pytest.approx(2 * q * s * width, rel=0.02)


def test_intervals_end_at_the_truth() -> None:
    """Without ties: the level is that of the ends between which the truth just lies."""
    values = torch.linspace(0, 1, 99).double()[None, :, None]
    levels = [
        float(interval_levels(result_of(torch.tensor([[x]]).double(), values)))
        for x in (0.5001, 0.9001, -1.0, 2.0)
    ]
    assert levels[0] < 0.03 and levels[1] == pytest.approx(0.8, abs=0.03)
    assert levels[2] > 0.98 and levels[3] > 0.98


def test_coverage_in_words() -> None:
    result = result_of(*drawn("gaussian", 500, 63))
    result.measured.update(Coverage().evaluate(result))
    (sentence,) = Coverage().verdict([result])
    assert sentence.startswith("90% intervals cover ") and sentence.endswith("truths of toy.")
