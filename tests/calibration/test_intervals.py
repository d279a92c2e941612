"""Intervals cover what they name, tests reject as often as they say: `mempost bench intervals`."""

from __future__ import annotations

import math

import pytest
import torch

from mempost.benchmarks.intervals import LAWS, cases, coverage, null_cases, rejection
from mempost.core.streams import Streams
from mempost.methods.statistics import intervals

SIMULATIONS = 300
ERROR = math.sqrt(0.05 * 0.95 / SIMULATIONS)
HELD = [case for case in cases() if case[1] != "log-normal"]
"""A mean of log-normal numbers is too skewed for any of these numbers of draws (see the docs)."""


def stream(k=0):
    return Streams(k, "metric").at()


@pytest.mark.parametrize("n", [24])
@pytest.mark.parametrize("case", HELD, ids=lambda case: f"{case[0]}, {case[1]}")
def test_an_interval_covers_what_it_names(case, n):
    row = coverage(*case, n, SIMULATIONS)
    assert row["withheld"] < 0.1
    assert row["covers"] > 0.95 - 3.5 * ERROR


@pytest.mark.parametrize("case", list(null_cases()), ids=lambda case: f"{case[0]}, {case[1]}")
def test_a_test_rejects_as_often_as_it_says(case):
    name, law, rejects, fewest = case
    share = rejection(name, law, rejects, max(24, fewest), SIMULATIONS)["rejects"]
    assert 0.03 - 3.5 * ERROR < share < 0.05 + 3.5 * ERROR


@pytest.mark.parametrize("n", [1, 12, 64])
def test_rates_of_nothing_and_of_all_have_a_length(n):
    """Clopper and Pearson's ends at 0 of n: 1 - (alpha/2)^(1/n)."""
    none = intervals.rate(torch.zeros(1, n), 0.95)
    end = 1 - 0.025 ** (1 / n)
    assert (none.value, none.low) == (0, 0) and none.high == pytest.approx(end)
    assert intervals.rate(torch.ones(1, n), 0.95) == pytest.approx((1, 1 - end, 1))


def test_chains_that_agree_count_as_one_draw_each():
    agree = intervals.rate(torch.ones(4, 100), 0.95)
    assert agree == pytest.approx(intervals.rate(torch.ones(1, 4), 0.95))


def test_what_is_not_known_is_withheld():
    few = LAWS["normal"][0](intervals.FEWEST - 1, stream())
    equal = torch.ones(1, 50)
    for found in (
        intervals.mean(few, 0.95, 100, stream()),
        intervals.mean(equal, 0.95, 100, stream()),
        intervals.mean(torch.ones(3, 50), 0.95, 100, stream()),
        intervals.median(equal[:, :5], 0.95),
        intervals.difference(few[0], equal[0], 0.95, 100, stream()),
        intervals.norm(1.0, torch.ones(10), 1, 0.95),
    ):
        assert math.isfinite(found.value) and math.isnan(found.low) and math.isnan(found.high)


def test_a_median_lies_between_the_order_statistics_of_the_sign_test():
    """Of 20 draws the 6th and the 15th: P(5 or fewer of 20 fall below) = .0207."""
    found = intervals.median(torch.arange(20.0)[None], 0.95)
    assert (found.value, found.low, found.high) == (9, 5, 14)
