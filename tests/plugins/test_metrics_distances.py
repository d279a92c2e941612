"""Distances between samples: SciPy on the line, closed forms elsewhere, and their metrics."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_results import Normal, NormalMixture, problem_of, results_of

from mempost.core.metric import Metric
from mempost.core.sampler import Samples
from mempost.core.streams import Streams
from mempost.methods.geometry.pairwise import nearest_distances, squared_distances
from mempost.methods.statistics import bootstrap, distances
from mempost.methods.statistics.thinning import thin
from mempost.plugins.metrics.energy_distance import EnergyDistance
from mempost.plugins.metrics.mmd import MaximumMeanDiscrepancy
from mempost.plugins.metrics.mode_mass_error import ModeMassError
from mempost.plugins.metrics.sliced_wasserstein import SlicedWasserstein

DISTANCES: list[Metric] = [SlicedWasserstein(), EnergyDistance(), MaximumMeanDiscrepancy()]
numbers = st.integers(-20, 20).map(lambda k: k / 4)
weighted = st.lists(st.tuples(numbers, st.integers(1, 5)), min_size=1, max_size=12)


def points(pairs: list[tuple[float, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    x, w = torch.tensor(pairs, dtype=torch.float64).T
    return x, w / w.sum()


def pooled(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of both sets, and weights 1/n and -1/m."""
    w = torch.cat([x.new_full((len(x),), 1 / len(x)), y.new_full((len(y),), -1 / len(y))])
    return torch.cat([x, y]), w[None]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Streams(seed, "data").at().normal(shape)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(weighted, weighted)
def test_line_equals_scipy(a: list[tuple[float, int]], b: list[tuple[float, int]]) -> None:
    (x, u), (y, v) = points(a), points(b)
    weights = {"u_weights": u.numpy(), "v_weights": v.numpy()}
    z, w = torch.cat([x, y])[:, None], torch.cat([u, -v])[None]
    found = distances.sliced_wasserstein(z, w, torch.ones(1, 1).double())
    expected = scipy.stats.wasserstein_distance(x.numpy(), y.numpy(), **weights)
    assert float(found) == pytest.approx(expected, abs=1e-12)
    found = distances.squared_energy_distance(z, w)
    expected = scipy.stats.energy_distance(x.numpy(), y.numpy(), **weights)
    assert float(found) == pytest.approx(expected**2, abs=1e-6)  # sqrt of rounded zeros


def test_replicates_are_separate() -> None:
    z = normal(12, 2)
    w = torch.softmax(normal(3, 12, seed=2), -1) - torch.softmax(normal(3, 12, seed=3), -1)
    along = distances.directions(2, 8, Streams(0, "metric").at())
    for statistic in (
        distances.squared_energy_distance,
        lambda z, w: distances.squared_mmd(z, w, 1.5),
        lambda z, w: distances.sliced_wasserstein(z, w, along),
    ):
        alone = torch.cat([statistic(z, w[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(statistic(z, w), alone, rtol=1e-12, atol=1e-14)


def test_quadratic_form_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    z, w = normal(30, 3), normal(4, 30, seed=1)
    expected = -torch.einsum("ri,rj,ij->r", w, w, torch.cdist(z, z))
    monkeypatch.setattr(distances, "_BLOCK", 200)
    found = distances.squared_energy_distance(z, w)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 3, 20])
def test_sliced_wasserstein_of_two_points(d: int) -> None:
    """|x - y| E|u_1|, with E|u_1| = Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))."""
    along = distances.directions(d, 20_000, Streams(0, "metric").at())
    x, y = torch.zeros(1, d).double(), torch.full((1, d), 3.0).double()
    found = float(distances.sliced_wasserstein(*pooled(x, y), along))
    mean = math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)
    error = math.sqrt(max(0, 1 / d - mean**2) / 20_000) if d > 2 else 1e-8
    expected = 3 * math.sqrt(d)
    assert found == pytest.approx(expected * mean, abs=5 * expected * error + 1e-12)


def test_energy_distance_of_normals() -> None:
    """E|x - y| of normals on the line is that of a folded normal."""
    n, shift = 4000, 1.0
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    x = torch.special.ndtri(levels)[:, None]
    found = float(distances.squared_energy_distance(*pooled(x, x + shift)))

    def folded(mu: float) -> float:
        s = math.sqrt(2)
        tail = 1 - 2 * scipy.stats.norm.cdf(-mu / s)
        return s * math.sqrt(2 / math.pi) * math.exp(-(mu**2) / (2 * s * s)) + mu * tail

    assert found == pytest.approx(2 * folded(shift) - 2 * folded(0), abs=2e-3)


@pytest.mark.parametrize("d", [1, 3])
def test_mmd_of_normals(d: int) -> None:
    """E k(x, y) = (h^2/(h^2 + 2))^(d/2) exp(-|m|^2 / (2 (h^2 + 2))) for two unit normals."""
    n, h = 4000, 1.3
    x, y = normal(n, d), normal(n, d, seed=1)
    y[:, 0] += 1.0
    found = float(distances.squared_mmd(*pooled(x, y), h))
    peak = (h**2 / (h**2 + 2)) ** (d / 2)
    expected = 2 * peak * (1 - math.exp(-1 / (2 * (h**2 + 2))))
    # the mean of n bounded terms, and 1/n from the diagonal
    assert found == pytest.approx(expected, abs=4 / math.sqrt(n) * 0.3 + 2 / n)


def test_median_distance() -> None:
    y = torch.tensor([[0.0], [1.0], [3.0]]).double()
    assert distances.median_distance(y) == 2.0


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(1, 8), st.integers(1, 30), st.sampled_from([0.0, 1e3, 1e7]), st.integers(0, 9))
def test_pairwise_equals_differences(d: int, n: int, offset: float, seed: int) -> None:
    a, b = normal(7, d, seed=seed) + offset, normal(n, d, seed=seed + 10) + offset
    a[0] = b[0] + 1e-9 * (1 + offset)
    expected = (a[:, None] - b).square().sum(-1)
    found = squared_distances(a, b)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 * float(expected.max()))
    k = min(3, n)
    values, index = nearest_distances(a, b, k)
    torch.testing.assert_close(values, expected.sqrt().sort(1).values[:, :k], rtol=1e-9, atol=0)
    torch.testing.assert_close(expected.sqrt().gather(1, index), values, rtol=1e-9, atol=0)


def test_resampling_counts() -> None:
    stream = Streams(0, "metric").at()
    counts = bootstrap.resampling_counts(1, 40, 2000, stream)
    assert bool((counts.sum(1) == 40).all())
    # counts are multinomial: mean 1, variance 1 - 1/n
    assert float(counts.mean(0).sub(1).abs().max()) < 5 / math.sqrt(2000)
    assert float(counts.var(0).mean()) == pytest.approx(1 - 1 / 40, rel=0.05)
    chained = bootstrap.resampling_counts(5, 8, 10, stream).reshape(10, 5, 8)
    assert torch.equal(chained, chained[..., :1].expand_as(chained))


def test_thinning_keeps_chains() -> None:
    values = torch.arange(5 * 100).reshape(5, 100, 1).double()
    thinned = thin(Samples(values), 40).values
    assert thinned.shape == (5, 8, 1)
    assert thinned[1, 0] == 100 and thinned[1, -1] == 199
    assert thin(Samples(values), 3).values.shape == (3, 1, 1)
    assert thin(Samples(values), 1000).values.shape == values.shape


@pytest.mark.parametrize("metric", DISTANCES, ids=lambda m: m.column)
def test_exact_draws_stay_under_the_floor(metric: Metric) -> None:
    """Of exact samplers with other seeds, about 5 % exceed the 95 % quantile of the null."""
    problem = problem_of([[0.0, 0.0]])
    small = metric.model_copy(update={"draws": 200, "resamples": 20})
    above = 0
    for seed in range(20):
        results = results_of(problem, {"exact": Normal([1.0, 0], [1, 0.5])}, n=200, seed=seed)
        columns = small.evaluate(results["exact"]).columns
        above += columns[f"{metric.column}"] > columns[f"{metric.column}_null_high"]
        assert columns[f"{metric.column}_null"] < columns[f"{metric.column}_null_high"]
    assert above <= 6


@pytest.mark.parametrize("metric", DISTANCES, ids=lambda m: m.column)
def test_a_shifted_sampler_is_seen(metric: Metric) -> None:
    exact = Normal([0.0, 0.0], [1.0, 1.0])
    shifted = Normal([0.5, 0.0], [1.0, 1.0])
    results = results_of(problem_of([[0.0, 0.0]]), {"exact": exact, "off": shifted}, n=1000)
    columns = metric.evaluate(results["off"]).columns
    name = metric.column
    ends = ("", "_low", "_high", "_null", "_null_high")
    assert set(columns) == {name + where + end for where in ("", "_local") for end in ends}
    assert columns[f"{name}_low"] <= columns[name] <= columns[f"{name}_high"]
    assert columns[f"{name}_low"] > columns[f"{name}_null_high"]


def test_interval_holds_the_true_sliced_distance() -> None:
    """Two normals that differ by a large shift: SW1 = shift * 2 / pi in two dimensions."""
    answers = {"exact": Normal([0.0, 0.0], [1.0, 1.0]), "off": Normal([4.0, 0.0], [1.0, 1.0])}
    results = results_of(problem_of([[0.0, 0.0]]), answers, n=1000)
    columns = SlicedWasserstein().evaluate(results["off"]).columns
    low, high = columns["sliced_wasserstein_low"], columns["sliced_wasserstein_high"]
    assert low < 8 / math.pi < high and high - low < 0.3


def test_chains_widen_the_interval() -> None:
    """Draws that repeat within their chain carry no more information than one a chain."""
    exact = Normal([0.0], [1.0])
    x = normal(20, 1, 1).expand(20, 50, 1)
    answers = {"exact": exact, "chains": Samples(x), "draws": x.reshape(-1, 1)}
    results = results_of(problem_of([[0.0]]), answers)
    metric = SlicedWasserstein()

    def width(key: str) -> float:
        columns = metric.evaluate(results[key]).columns
        return columns["sliced_wasserstein_high"] - columns["sliced_wasserstein_low"]

    assert width("chains") > 2 * width("draws")


def test_reference_that_only_draws() -> None:
    answers = {"exact": normal(1000, 2), "same": normal(500, 2, seed=1), "off": normal(500, 2) + 1}
    results = results_of(problem_of([[0.0, 0.0]]), answers)
    metric = EnergyDistance(draws=500)
    same, off = metric.evaluate(results["same"]).columns, metric.evaluate(results["off"]).columns
    assert same["energy_distance"] < 3 * same["energy_distance_null"]
    assert off["energy_distance_low"] > 3 * off["energy_distance_null"]


def test_a_posterior_of_one_point_has_no_mmd() -> None:
    answers = {"exact": torch.zeros(50, 2).double(), "off": torch.ones(50, 2).double()}
    results = results_of(problem_of([[0.0, 0.0]]), answers)
    assert MaximumMeanDiscrepancy().evaluate(results["off"]).columns == {}
    columns = MaximumMeanDiscrepancy(bandwidth=1.0).evaluate(results["off"]).columns
    assert columns["mmd"] == pytest.approx(math.sqrt(2 - 2 * math.exp(-1)), rel=1e-12)


def test_same_numbers_again() -> None:
    results = results_of(problem_of([[0.0]]), {"exact": Normal([0.0], [1.0])})
    for metric in DISTANCES:
        assert (
            metric.evaluate(results["exact"]).columns == metric.evaluate(results["exact"]).columns
        )


def test_mode_mass_error() -> None:
    problem = problem_of([[-2.0], [2.0]], bandwidth=0.1)
    means = problem.prior.means
    answers = {
        "exact": NormalMixture([0.8, 0.2], means, 0.1),
        "closed": NormalMixture([0.5, 0.5], means, 0.1),
        "samples": torch.tensor([[-2.0]] * 60 + [[2.0]] * 40).double(),
    }
    results = results_of(problem, answers)
    metric = ModeMassError()
    assert metric.evaluate(results["exact"]).columns == {"mode_mass_error": 0.0}
    assert metric.evaluate(results["closed"]).columns == {"mode_mass_error": pytest.approx(0.3)}
    columns = metric.evaluate(results["samples"]).columns
    assert columns["mode_mass_error"] == pytest.approx(0.2)
    # a binomial of 100 draws: 0.6 +- 1.96 * 0.049
    assert columns["mode_mass_error_low"] == pytest.approx(0.2 - 0.096, abs=0.04)
    assert columns["mode_mass_error_high"] == pytest.approx(0.2 + 0.096, abs=0.04)
    # mean absolute deviation of a binomial: sqrt(2/pi) 0.04
    assert columns["mode_mass_error_null"] == pytest.approx(0.032, abs=0.02)
