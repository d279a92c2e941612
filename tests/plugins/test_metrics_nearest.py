"""Nearest-neighbour memorization: brute force, closed forms, controls and intervals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_results import problem_of, results_of

from mempost.core.coordinates import Coordinates
from mempost.core.sampler import Samples
from mempost.core.streams import Streams
from mempost.plugins.metrics.nearest_neighbour import NearestNeighbour, nearest

QUICK = NearestNeighbour(resamples=50)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Streams(seed, "data").at().normal(shape)


def ratios(queries: torch.Tensor, train: torch.Tensor, k: int, leave_out: bool) -> list[float]:
    """d1 / mean(d2..dk), one query after the other."""
    found = []
    for i, q in enumerate(queries):
        others = [x for j, x in enumerate(train) if not (leave_out and i == j)]
        d = sorted(math.dist(q.tolist(), x.tolist()) for x in others)[: min(k, len(others))]
        found.append(d[0] / (sum(d[1:]) / len(d[1:])))
    return found


@given(
    st.integers(3, 25), st.integers(1, 6), st.integers(2, 30), st.integers(0, 50), st.floats(0, 1)
)
def test_equal_to_brute_force(n: int, d: int, k: int, seed: int, noise: float) -> None:
    train, held_out = normal(n, d, seed=seed), normal(9, d, seed=seed + 100)
    x = train[torch.arange(12) % n] + noise * normal(12, d, seed=seed + 200) + 1e-12
    result = results_of(problem_of(train), {"a": x}, held_out=held_out)["a"]
    columns = NearestNeighbour(k=k, resamples=10).evaluate(result).columns
    for suffix, queries, leave_out in (
        ("", x, False),
        ("_held_out", held_out, False),
        ("_leave_one_out", train, True),
    ):
        r = ratios(queries, train, k, leave_out)
        expected = sum(r) / len(r)
        assert columns[f"nn_ratio_mean{suffix}"] == pytest.approx(expected, rel=1e-3, abs=1e-11)
        rate = sum(value < 0.7 for value in r) / len(r)
        assert columns[f"nn_rate{suffix}"] == pytest.approx(rate)
        third = ratios(queries, train, 2, leave_out)
        rate = sum(value < 1 / 3 for value in third) / len(third)
        assert columns[f"nn_third_rate{suffix}"] == pytest.approx(rate)


def test_distances_of_copies_keep_their_digits() -> None:
    train = normal(50, 20) + 1e4
    queries = train + 1e-9 * normal(50, 20, seed=1)
    found = nearest(queries, train, 1)[:, 0]
    torch.testing.assert_close(found, (queries - train).norm(dim=1), rtol=1e-6, atol=0)


def test_copies_are_memorized_and_fresh_points_are_not() -> None:
    """In 50 dimensions distances concentrate: fresh points are equally far from all."""
    train, held_out, fresh = normal(200, 50), normal(300, 50, seed=1), normal(300, 50, seed=2)
    results = results_of(
        problem_of(train), {"copies": train[:100] + 1e-3, "fresh": fresh}, held_out=held_out
    )
    copies, new = (QUICK.evaluate(results[key]).columns for key in ("copies", "fresh"))
    for name in ("nn_rate", "nn_third_rate"):
        assert copies[name] == 1
        assert copies[f"{name}_excess"] == 1 - copies[f"{name}_held_out"] > 0.95
        for suffix in ("", "_held_out", "_leave_one_out"):
            assert new[name + suffix] < 0.05
    assert copies["nn_ratio_mean"] < 0.01 < 0.7 < new["nn_ratio_mean"]


def test_rates_are_corrected_for_the_null() -> None:
    """On a line, a fresh point passes the third rule in half of the cases; copies always do."""
    train = torch.arange(100.0, dtype=torch.float64)[:, None]
    held_out = 40 + 20 * Streams(0, "data").at().uniform((1000, 1))
    copies = train[torch.arange(600) % 100]
    x = torch.cat([copies, held_out[:400]])
    columns = (
        NearestNeighbour()
        .evaluate(results_of(problem_of(train), {"a": x}, held_out=held_out)["a"])
        .columns
    )
    rate, null = columns["nn_third_rate"], columns["nn_third_rate_held_out"]
    corrected = columns["nn_third_rate_corrected"]
    assert corrected == pytest.approx((rate - null) / (1 - null))
    assert corrected == pytest.approx(0.6, abs=4 * 0.5 / math.sqrt(400) * 0.4 / 0.5)
    # var of 1 - (1 - p)/(1 - p0) to first order, numerator and denominator independent
    width = (0.4 * 0.5) * math.sqrt((1 - rate) * rate / 1000 / 0.2**2 + 1 / 1000) / 0.5
    found = columns["nn_third_rate_corrected_high"] - columns["nn_third_rate_corrected_low"]
    assert found == pytest.approx(2 * 1.96 * width, rel=0.15)


def test_no_correction_where_every_fresh_point_counts() -> None:
    train = torch.tensor([[0.0], [10.0], [20.0]]).double()
    held_out = torch.tensor([[0.1], [10.2]]).double()
    result = results_of(problem_of(train), {"a": train}, held_out=held_out)["a"]
    columns = QUICK.evaluate(result).columns
    assert columns["nn_third_rate_held_out"] == 1
    assert not any(name.startswith("nn_third_rate_corrected") for name in columns)


def test_distinct_neighbours_of_memorized_draws() -> None:
    train = 10 * normal(30, 8)
    x = torch.cat([train[[3, 3, 3, 7]] + 1e-3, normal(1, 8, seed=1) * 1e-3 + train[:2].mean(0)])
    columns = (
        NearestNeighbour(threshold=0.5, resamples=10)
        .evaluate(results_of(problem_of(train), {"a": x})["a"])
        .columns
    )
    assert (columns["nn_rate"], columns["nn_distinct"]) == (0.8, 2)


def test_median_of_the_ratio_and_its_interval() -> None:
    train, x = normal(40, 2), normal(101, 2, seed=1)
    columns = (
        NearestNeighbour(resamples=2000)
        .evaluate(results_of(problem_of(train), {"a": x})["a"])
        .columns
    )
    r = sorted(ratios(x, train, 50, False))
    assert columns["nn_ratio_median"] == pytest.approx(r[50], rel=1e-6)
    # order statistics at 50 +- 1.96 sqrt(101)/2
    low, high = columns["nn_ratio_median_low"], columns["nn_ratio_median_high"]
    assert r[36] <= low <= r[44] and r[56] <= high <= r[64]


def test_the_null_is_large_in_one_dimension() -> None:
    """On a line of N points, a fresh point between two neighbours is close to one of them.

    With spacing 1 and offset u uniform on (0, 1/2), d1 / d2 = u / (1 - u) < 1/3 iff u < 1/4.
    """
    train = torch.arange(100.0, dtype=torch.float64)[:, None]
    held_out = 40 + 20 * Streams(0, "data").at().uniform((4000, 1))
    result = results_of(problem_of(train), {"a": held_out[:2000]}, held_out=held_out[2000:])["a"]
    columns = NearestNeighbour().evaluate(result).columns
    error = 0.5 / math.sqrt(2000)
    assert columns["nn_third_rate"] == pytest.approx(0.5, abs=4 * error)
    assert columns["nn_third_rate_held_out"] == pytest.approx(0.5, abs=4 * error)
    assert columns["nn_third_rate_excess_low"] < 0 < columns["nn_third_rate_excess_high"]
    # percentile intervals of a binomial rate, and of a difference of two
    width = columns["nn_third_rate_high"] - columns["nn_third_rate_low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.15)
    width = columns["nn_third_rate_excess_high"] - columns["nn_third_rate_excess_low"]
    assert width == pytest.approx(2 * 1.96 * error * math.sqrt(2), rel=0.15)
    # equal distances to both sides
    assert columns["nn_third_rate_leave_one_out"] == 0


def test_tolerance() -> None:
    train = torch.tensor([[0.0], [1.0], [2.0]]).double()
    x = torch.tensor([[0.05], [1.2], [5.0], [2.0]]).double()
    result = results_of(problem_of(train), {"a": x}, held_out=x[1:3])["a"]
    assert not any("tolerance" in name for name in QUICK.evaluate(result).columns)
    columns = NearestNeighbour(tolerance=0.1, resamples=20).evaluate(result).columns
    assert columns["nn_tolerance_rate"] == 0.5
    assert columns["nn_tolerance_rate_held_out"] == 0
    assert columns["nn_tolerance_rate_leave_one_out"] == 0
    assert columns["nn_tolerance_rate_excess"] == 0.5


def test_copies_of_duplicates_are_copies() -> None:
    train = torch.tensor([[0.0], [0.0], [3.0]]).double()
    result = results_of(problem_of(train), {"a": torch.zeros(4, 1).double()})["a"]
    columns = NearestNeighbour(k=2, resamples=10).evaluate(result).columns
    assert columns["nn_ratio_mean"] == 0
    assert columns["nn_rate"] == columns["nn_third_rate"] == 1


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_training_examples(n: int) -> None:
    train, x = normal(n, 2), normal(5, 2, seed=1)
    result = results_of(problem_of(train), {"a": x}, held_out=normal(4, 2, seed=2))["a"]
    columns = NearestNeighbour(tolerance=0.1, resamples=10).evaluate(result).columns
    assert ("nn_ratio_mean" in columns) == (n >= 2)
    assert ("nn_ratio_mean_held_out" in columns) == (n >= 2)
    assert ("nn_ratio_mean_leave_one_out" in columns) == (n >= 3)
    assert ("nn_tolerance_rate_leave_one_out" in columns) == (n >= 2)
    ends = {name for name in columns if name.endswith(("_low", "_high"))}
    assert all(math.isfinite(columns[name]) for name in columns.keys() - ends)
    assert math.isfinite(columns["nn_tolerance_rate_high"])  # a rate has ends, a mean of five not
    assert n < 2 or math.isnan(columns["nn_ratio_mean_high"])


def test_no_held_out_no_excess() -> None:
    result = results_of(problem_of(normal(10, 2)), {"a": normal(5, 2, seed=1)})["a"]
    columns = QUICK.evaluate(result).columns
    assert not any("held_out" in name or "excess" in name for name in columns)
    assert "nn_rate_leave_one_out_high" in columns
    result.data = None
    assert QUICK.evaluate(result).columns == {}


def test_controls_are_thinned() -> None:
    """Of 0, 1, 3, 6, 10, the queries 0, 3 and 10 are left out one at a time."""
    train = torch.tensor([[0.0], [1.0], [3.0], [6.0], [10.0]]).double()
    result = results_of(problem_of(train), {"a": train})["a"]
    columns = NearestNeighbour(k=2, controls=3, resamples=10).evaluate(result).columns
    expected = (1 / 3 + 2 / 3 + 4 / 7) / 3
    assert columns["nn_ratio_mean_leave_one_out"] == pytest.approx(expected)
    assert columns["nn_ratio_mean"] == 0


def test_coordinates_change_distances() -> None:
    train = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()
    problem = problem_of(train)
    problem.prior.coordinates = Coordinates(torch.zeros(2), torch.tensor([1.0, 100.0]))
    x = torch.tensor([[0.4, 0.3]]).double()
    result = results_of(problem, {"a": x})["a"]
    raw, prior = (
        NearestNeighbour(k=2, coordinates=system, resamples=10).evaluate(result).columns
        for system in ("raw", "prior")
    )
    assert not raw.keys() & prior.keys()  # both fit into one table
    raw, prior = raw["nn_ratio_mean"], prior["nn_prior_ratio_mean"]
    assert prior == pytest.approx(math.hypot(0.4, 0.3) / math.hypot(0.6, 0.3))
    assert raw == pytest.approx(math.hypot(0.4, 30) / math.hypot(0.6, 30))


def test_whole_chains_are_resampled() -> None:
    """Two chains, one of copies, one far off: the rate may be anything, whatever their length."""
    train = normal(30, 8)
    values = torch.stack([train[:1].expand(40, 8), 9 + normal(40, 8, seed=1)])
    result = results_of(problem_of(train), {"a": Samples(values)})["a"]
    columns = NearestNeighbour(resamples=200).evaluate(result).columns
    assert columns["nn_third_rate"] == 0.5
    assert columns["nn_third_rate_low"] < 0.01 and columns["nn_third_rate_high"] > 0.99


def test_single_precision_samples() -> None:
    train, x = normal(20, 3), normal(30, 3, seed=1)
    double = QUICK.evaluate(results_of(problem_of(train), {"a": x})["a"]).columns
    single = QUICK.evaluate(results_of(problem_of(train), {"a": x.float()})["a"]).columns
    assert single == pytest.approx(double, rel=1e-5)
