"""Classifiers and optimal assignment between a sampler's draws and exact ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from toy_posteriors import drawn, result_of

from mempost.core.coordinates import Coordinates
from mempost.core.posterior import Posterior
from mempost.core.result import Result
from mempost.core.streams import TILE, Stream, Streams
from mempost.plugins.metrics.c2st import ClassifierTwoSampleTest
from mempost.plugins.metrics.energy_distance import EnergyDistance
from mempost.plugins.metrics.wasserstein import Wasserstein


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Streams(seed, "data").at().normal(shape)


def results(exact: torch.Tensor, values: torch.Tensor, seed: int = 0) -> dict[str, Result]:
    """Two samplers that only draw."""
    found = {
        "exact": result_of(None, exact[None], seed, "exact"),
        "off": result_of(None, values[None], seed, "off"),
    }
    for result in found.values():
        result.siblings = found
        result.__dict__["posterior"] = None
    return found


QUADRATIC = ClassifierTwoSampleTest(classifier="quadratic", draws=4000)


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_accuracy_between_two_normals(delta: float) -> None:
    """Phi(Delta/2), for unit normals Delta apart in any direction."""
    n, d = 4000, 3
    shift = torch.full((d,), delta / math.sqrt(d)).double()
    found = results(normal(2 * n, d), normal(n, d, seed=1) + shift)["off"]
    columns = QUADRATIC.evaluate(found).columns
    expected = scipy.stats.norm.cdf(delta / 2)
    # the error of 2n draws; the classifier loses about its number of weights over n
    assert columns["c2st"] == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(2 * n) + 10 / n)
    assert columns["c2st_low"] < expected < columns["c2st_high"]
    assert columns["c2st_p"] < 1e-4 and columns["c2st"] > columns["c2st_null_high"]


def test_network_comes_near_the_closed_form() -> None:
    n = 2000
    found = results(normal(2 * n, 2), normal(n, 2, seed=1) + torch.tensor([1.5, 0.0]))["off"]
    columns = ClassifierTwoSampleTest(draws=n).evaluate(found).columns
    expected = scipy.stats.norm.cdf(0.75)
    assert expected - 0.04 < columns["c2st"] < expected + 4 * 0.5 / math.sqrt(2 * n)


def test_network_sees_what_no_second_moment_shows() -> None:
    """Two points against a normal of the same mean and variance: 1/2 + TV/2 = 1."""
    n = 600
    signs = torch.where(normal(2 * n, 1) > 0, 1.0, -1.0).double()
    found = results(signs + 0.01 * normal(2 * n, 1, seed=2), normal(n, 1, seed=1))["off"]
    assert ClassifierTwoSampleTest(draws=n).evaluate(found).columns["c2st"] > 0.9
    assert (
        ClassifierTwoSampleTest(draws=n, classifier="quadratic").evaluate(found).columns["c2st"]
        < 0.7
    )


def test_p_values_under_the_null() -> None:
    """Never smaller than uniform: the share below p is at most p, within Monte-Carlo error."""
    metric = ClassifierTwoSampleTest(classifier="quadratic", draws=100)
    p = np.array(
        [
            metric.evaluate(
                results(normal(200, 2, seed=3 * s), normal(100, 2, seed=3 * s + 1))["off"]
            ).columns["c2st_p"]
            for s in range(100)
        ]
    )
    for level in (0.05, 0.2, 0.5):
        error = math.sqrt(level * (1 - level) / len(p))
        assert (p < level).mean() < level + 3.5 * error
    assert (p < 0.5).mean() > 0.3


class _Normal(Posterior):
    def mean(self) -> torch.Tensor:
        return torch.zeros(2).double()

    def covariance(self) -> torch.Tensor:
        return torch.eye(2).double()

    def _draw(self, stream: Stream) -> torch.Tensor:
        return stream.normal((TILE, 2))


def test_reference_itself() -> None:
    found = results(normal(400, 2), normal(400, 2, seed=1))
    metric = ClassifierTwoSampleTest(classifier="quadratic", draws=400)
    assert (
        metric.evaluate(found["exact"]).columns == {}
    )  # its own draws would be compared with themselves
    found["exact"].__dict__["posterior"] = _Normal()
    columns = metric.evaluate(found["exact"]).columns
    assert columns["c2st_p"] > 1e-3 and columns == metric.evaluate(found["exact"]).columns


def test_nothing_in_calibration_runs() -> None:
    truths, values = drawn("mixture", 4, 50)
    result = result_of(truths, values)
    assert ClassifierTwoSampleTest().evaluate(result).columns == {}
    assert Wasserstein().evaluate(result).columns == {}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_assignment_against_all_permutations(order: int, seed: int) -> None:
    n = 6
    x, y = normal(n, 2, seed=seed), normal(n, 2, seed=seed + 10)
    cost = torch.cdist(x, y) ** order
    best = min(
        float(cost[torch.arange(n), list(s)].mean()) for s in itertools.permutations(range(n))
    )
    w = torch.cat([torch.full((n,), 1 / n), torch.full((n,), -1 / n)]).double()[None]
    statistic = Wasserstein(order=order).statistic(y, Streams(0, "metric").at())
    assert float(statistic(torch.cat([x, y]), w)) == pytest.approx(best, rel=1e-7)


def test_weights_repeat_points_and_the_line_equals_scipy() -> None:
    n = 40
    x, y = normal(n, 1), normal(n, 1, seed=1)
    u = torch.bincount(torch.arange(n) // 3, minlength=n).double()
    u = u / u.sum()
    w = torch.cat([u, torch.full((n,), -1 / n).double()])[None]
    found = Wasserstein().statistic(y, Streams(0, "metric").at())(torch.cat([x, y]), w)
    expected = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0], u_weights=u.numpy())
    assert float(found) == pytest.approx(expected, rel=1e-7)


def test_distance_between_normals() -> None:
    """W_2 of unit normals is the distance of their means; the sampling error adds to it."""
    found = results(normal(800, 2), normal(400, 2, seed=1) + torch.tensor([3.0, 0.0]))
    columns = Wasserstein(order=2, draws=300, resamples=20).evaluate(found["off"]).columns
    assert set(columns) == {
        f"wasserstein_2{s}" for s in ("", "_low", "_high", "_null", "_null_high")
    }
    floor = columns["wasserstein_2_null"]
    assert abs(columns["wasserstein_2"] - 3) < floor
    # the means of 300 draws differ by 3 up to sqrt(2/300) = 0.08
    assert columns["wasserstein_2_low"] - 0.25 < 3.0 < columns["wasserstein_2_high"] + floor
    assert columns["wasserstein_2_low"] > columns["wasserstein_2_null_high"]


def test_exact_draws_stay_near_the_floor() -> None:
    above = 0
    for seed in range(20):
        found = results(normal(160, 2, seed=seed), normal(80, 2, seed=seed + 50), seed)
        columns = Wasserstein(draws=80, resamples=20).evaluate(found["off"]).columns
        above += columns["wasserstein_1"] > columns["wasserstein_1_null_high"]
    assert above <= 6


def test_fewer_exact_draws_than_asked_for() -> None:
    found = results(normal(60, 2), normal(100, 2, seed=1))
    columns = Wasserstein(resamples=10).evaluate(found["off"]).columns
    assert 0 < columns["wasserstein_1"] < 1


@pytest.mark.parametrize("name", ["wasserstein_1", "energy_distance", "c2st"])
def test_priors_with_other_coordinates(name: str) -> None:
    """What is compared are raw coordinates, whatever the prior of each sampler is scaled to."""
    found = results(normal(800, 2), normal(400, 2, seed=1))
    metric = {
        "wasserstein_1": Wasserstein(draws=200, resamples=20),
        "energy_distance": EnergyDistance(draws=200, resamples=20),
        "c2st": ClassifierTwoSampleTest(classifier="quadratic", draws=400),
    }[name]
    plain = metric.evaluate(found["off"]).columns[name]
    moved = results(normal(800, 2), (normal(400, 2, seed=1) - 5) / 3)
    scale = torch.full((2,), 3.0).double()
    moved["off"].problem.prior.coordinates = Coordinates(torch.full((2,), 5.0).double(), scale)
    assert metric.evaluate(moved["off"]).columns[name] == pytest.approx(plain, rel=1e-6)
