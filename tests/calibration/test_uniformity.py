"""Randomised ranks, the law of the Anderson-Darling statistic, and simultaneous bands."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_posteriors import Fixed

from mempost.core.streams import Streams
from mempost.methods.statistics.ranks import Draws, folded, randomised_ranks
from mempost.methods.statistics.simultaneous_bands import _probability_inside, simultaneous_band
from mempost.methods.statistics.uniformity import anderson_darling, tail


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8))
def test_randomised_ranks_of_exchangeable_values_are_uniform(values: list[int]) -> None:
    """Whichever of the values is the truth, with equal chances: u is uniform, exactly."""
    z = torch.tensor(values, dtype=torch.float64)
    n = len(z)
    draws = torch.stack([torch.cat([z[:i], z[i + 1 :]]) for i in range(n)])
    same = torch.zeros(n, n - 1, dtype=torch.bool)
    low = randomised_ranks(z, draws, same, Fixed(0.0))
    high = randomised_ranks(z, draws, same, Fixed(1.0))
    middle = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    inside = (low[:, None] < middle) & (middle < high[:, None])
    density = (inside / (high - low)[:, None]).mean(0)
    torch.testing.assert_close(density, torch.ones_like(density), rtol=1e-12, atol=0)


def test_copies_of_the_truth_are_ties_however_their_sums_round() -> None:
    truth, draws = torch.tensor([0.3]).double(), torch.tensor([[0.3 + 1e-16, 0.2]]).double()
    x = Draws(torch.ones(1, 2), torch.tensor([[[1.0, 1.0], [1.0, 2.0]]]))
    assert torch.equal(x.same(), torch.tensor([[True, False]]))
    u = [float(randomised_ranks(truth, draws, x.same(), Fixed(v))) for v in (0.0, 1.0)]
    assert u == [pytest.approx(1 / 3), pytest.approx(1.0)]


def test_folding() -> None:
    u = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert folded(u).tolist() == [1.0, 0.5, 0.0, 1.0]


def _imhof(x: float, terms: int = 4000) -> float:
    """P(sum_j X_j^2/(j (j+1)) > x) by inversion of the characteristic function on the real line."""
    j = np.arange(1, terms + 1)
    weights = 1 / (j * (j + 1.0))
    rest = 1 / (terms + 1)  # mean of the terms that are left out

    def integrand(u: float) -> float:
        theta = 0.5 * np.arctan(weights * u).sum() - 0.5 * (x - rest) * u
        return math.sin(theta) / (u * math.exp(0.25 * np.log1p((weights * u) ** 2).sum()))

    return 0.5 + scipy.integrate.quad(integrand, 1e-12, 900, limit=2000)[0] / math.pi


@pytest.mark.parametrize("x", [0.3, 0.8, 1.9, 2.1, 5.0, 9.9, 10.1])
def test_anderson_darling_law_against_another_inversion(x: float) -> None:
    assert tail(x) == pytest.approx(_imhof(x), abs=1e-7)


def test_anderson_darling_law_against_tables_and_its_tail() -> None:
    for x, p in ((1.933, 0.10), (2.492, 0.05), (3.070, 0.025)):  # Stephens 1974
        assert tail(x) == pytest.approx(p, rel=0.02)
    for x in (30.0, 60.0, 200.0):  # the largest term, X^2/2, rules: exp(-x)/sqrt(x)
        assert tail(x + 1) / tail(x) == pytest.approx(
            math.exp(-1) * math.sqrt(x / (x + 1)), rel=2e-3
        )
    assert tail(1e-3) == pytest.approx(1.0) and tail(5000.0) == 0.0 and tail(-1.0) == 1.0


def test_p_values_of_uniform_numbers_are_uniform() -> None:
    u = Streams(0, "data").at().uniform((4000, 20))
    statistic, p = anderson_darling(u)
    assert statistic.shape == p.shape == (4000,)
    assert scipy.stats.kstest(p.numpy(), "uniform").pvalue > 1e-3
    assert float((p < 0.01).double().mean()) == pytest.approx(0.01, abs=4 * math.sqrt(0.01 / 4000))


def test_statistic_by_its_definition() -> None:
    """n int (F_n - u)^2/(u (1 - u)) du."""
    u = np.sort(Streams(1, "data").at().uniform((7,)).numpy())
    ends = np.concatenate([[0.0], u, [1.0]])
    total = 0.0
    for i, (a, b) in enumerate(itertools.pairwise(ends)):
        f = i / 7
        total += scipy.integrate.quad(lambda t, f=f: (f - t) ** 2 / (t * (1 - t)), a, b)[0]
    found, _ = anderson_darling(torch.from_numpy(u[[3, 0, 6, 1, 5, 2, 4]]))
    assert float(found) == pytest.approx(7 * total, rel=1e-8)


def test_ends_of_the_interval_are_finite() -> None:
    statistic, p = anderson_darling(torch.tensor([0.0, 0.5, 1.0]).double())
    assert math.isfinite(float(statistic)) and 0 <= float(p) <= 1


def test_band_probability_by_enumeration() -> None:
    n, z = 5, np.array([0.25, 0.5, 0.75, 1.0])
    low, high = np.array([0, 1, 2, 5]), np.array([3, 3, 5, 5])
    expected = 0.0
    for cells in itertools.product(range(4), repeat=n):
        counts = np.cumsum(np.bincount(cells, minlength=4))
        expected += bool(((counts >= low) & (counts <= high)).all()) / 4**n
    assert _probability_inside(n, z, low, high) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "points"), [(50, 50), (1000, 100)])
def test_band_holds_all_at_once(n: int, points: int) -> None:
    band = simultaneous_band(n, 0.9, points)
    inside = 0
    for tile in range(20):
        u = np.sort(Streams(2, "data").at(tile).uniform((100, n)).numpy(), 1)
        below = (u[..., None] < band.z).sum(1) if n < 100 else _counts(u, band.z)
        f = below / n
        inside += int(((f >= band.low - 1e-12) & (f <= band.high + 1e-12)).all(1).sum())
    # at least 90 %, and not much more: counts are whole numbers
    error = math.sqrt(0.1 * 0.9 / 2000)
    assert 0.9 - 4 * error < inside / 2000 < 0.93 + 4 * error


def _counts(u: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.stack([np.searchsorted(row, z) for row in u])
