"""Weights, resampling, exponents and the tail of weights against what is known of them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mempost.core.streams import Streams
from mempost.methods.chains.tempering import next_exponent
from mempost.methods.chains.weights import effective_sample_size, log_mean, systematic
from mempost.methods.statistics.pareto import (
    dependable_shape,
    generalised_pareto_shape,
    pareto_shape,
)

LOG_WEIGHTS = st.lists(st.floats(-50, 50), min_size=2, max_size=40).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


@given(LOG_WEIGHTS, st.integers(0, 1000), st.floats(-1e5, 1e5))
def test_systematic_copies_are_the_expected_ones_rounded(log_weights, seed, shift):
    n = len(log_weights)
    ancestors = systematic(log_weights + shift, Streams(seed, "sampling").at())
    counts = torch.bincount(ancestors, minlength=n)
    expected = n * (log_weights + shift).softmax(0)
    assert len(ancestors) == n
    assert bool((counts >= (expected - 1e-6).floor()).all())
    assert bool((counts <= (expected + 1e-6).ceil()).all())


def test_systematic_copies_are_unbiased_at_every_place():
    """Counts over 4000 seeds, and the law of the first place, which a sorted order would bias."""
    log_weights = torch.tensor([0.1, 0.35, 0.05, 0.5], dtype=torch.float64).log()
    runs = torch.stack([systematic(log_weights, Streams(i, "sampling").at()) for i in range(4000)])
    p = log_weights.exp()
    counts = torch.stack([(runs == j).double().sum(1) for j in range(4)], -1)
    z = (counts.mean(0) - 4 * p) / (counts.std(0) / math.sqrt(4000)).clamp(min=1e-12)
    assert float(z.abs().max()) < 4
    first = torch.stack([(runs[:, 0] == j).double().mean() for j in range(4)])
    assert float(((first - p) / (p * (1 - p) / 4000).sqrt()).abs().max()) < 4


@given(LOG_WEIGHTS, st.floats(-1e4, 1e4))
def test_effective_sample_size_by_its_definition(log_weights, shift):
    w = (log_weights - log_weights.max()).exp()
    expected = float(w.sum() ** 2 / w.square().sum())
    found = effective_sample_size(log_weights + shift)
    assert found == pytest.approx(expected, rel=1e-8)
    assert 1 - 1e-8 <= found <= len(log_weights) * (1 + 1e-8)


def test_mean_weight_and_its_error():
    """Lognormal weights: mean exp(s^2/2), standard error from their variance."""
    s, n = 0.6, 20_000
    log_weights = s * Streams(3, "sampling").at().normal((n,)) + 700.0
    value, error = log_mean(log_weights)
    assert error == pytest.approx(math.sqrt((math.exp(s**2) - 1) / n), rel=0.1)
    assert abs(value - 700 - s**2 / 2) < 4 * error
    assert math.isnan(log_mean(log_weights[:1])[1])


@given(LOG_WEIGHTS, st.floats(0.05, 0.95), st.floats(0, 0.9))
def test_next_exponent_keeps_the_share(log_likelihood, share, beta):
    n = len(log_likelihood)
    after = next_exponent(log_likelihood, beta, share)
    assert beta < after <= 1
    kept = effective_sample_size((after - beta) * log_likelihood) / n
    if after == 1:
        assert kept >= share - 1e-12
    else:
        assert kept == pytest.approx(share, abs=1e-3)


def test_next_exponent_of_steep_likelihoods():
    """A likelihood that spans 1e9 nats: the step is as small as it must be, and not zero."""
    log_likelihood = -torch.logspace(0, 9, 500, dtype=torch.float64)
    after = next_exponent(log_likelihood, 0.0, 0.5)
    assert 0 < after < 1e-4
    assert effective_sample_size(after * log_likelihood) == pytest.approx(250, rel=1e-3)


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.5, 1.0])
def test_shape_of_a_generalised_pareto_law(k):
    """By inversion of its distribution function; the error of the estimate is (1 + k)/sqrt(m)."""
    m = 20_000
    u = Streams(5, "sampling").at().uniform((m,))
    z = 2.5 * ((1 - u) ** (-k) - 1) / k
    found = generalised_pareto_shape(z.sort().values)
    assert found == pytest.approx(k, abs=4 * (1 + k) / math.sqrt(m))


@pytest.mark.parametrize("variance", [0.4, 0.7])
def test_shape_of_the_weights_of_a_narrow_normal_proposal(variance):
    """N(0, 1) by N(0, v): the weights exceed t with probability about t^(-1/(1 - v)), k = 1 - v."""
    x = math.sqrt(variance) * Streams(1, "sampling").at().normal((200_000,))
    log_weights = (1 / variance - 1) * x**2 / 2
    assert pareto_shape(log_weights) == pytest.approx(1 - variance, abs=0.1)


def test_shape_of_weights_without_a_tail():
    assert pareto_shape(Streams(0, "sampling").at().uniform((1000,)).log()) < 0.2
    assert math.isnan(pareto_shape(torch.zeros(1000)))
    assert math.isnan(pareto_shape(torch.arange(8.0)))
    assert dependable_shape(10_000) == pytest.approx(0.7)
    assert dependable_shape(100) == pytest.approx(0.5)
