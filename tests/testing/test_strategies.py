"""What the strategies promise, and the reference formulas held against quadrature."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mempost.core.streams import Streams
from mempost.testing.reference import solve
from mempost.testing.strategies import gaussian_mixtures, linear_problems, noise_levels, states

# the type checker of the test suite draws from Python's generator
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@given(noise_levels(), noise_levels(batch=3))
def test_noise_levels_explode_or_preserve_the_variance(level, rows):
    for a, s in [(level.a, level.s), *zip(rows.a.tolist(), rows.s.tolist(), strict=True)]:
        assert 1e-3 <= s <= 100
        assert a == 1.0 or abs(a**2 + s**2 - 1) < 1e-12


@given(st.data(), gaussian_mixtures(), noise_levels(batch=2))
@settings(max_examples=40)
def test_mixtures_obey_tweedie_in_first_and_second_order(data, prior, level):
    z = data.draw(states(prior.dimension, batch=2))
    gradient = torch.func.grad(lambda u: prior.log_density(u, level).sum())(z)
    scale = 1 + gradient.abs().max()
    assert (prior.score(z, level) - gradient).abs().max() <= 1e-7 * scale
    eye = torch.eye(prior.dimension, dtype=z.dtype)
    columns = [prior.at(z, level).covariance_product(e.expand_as(z)) for e in eye]
    covariance = torch.stack(columns, -1)
    size = covariance.abs().max()
    assert (covariance - covariance.mT).abs().max() <= 1e-8 * size
    assert torch.linalg.eigvalsh((covariance + covariance.mT) / 2).min() >= -1e-8 * size


@given(linear_problems(max_dimension=2))
@settings(max_examples=25)
def test_the_dense_posterior_is_prior_times_likelihood(problem):
    posterior = solve(problem)
    x = posterior.sample(6, Streams(0, "metric"))
    difference = problem.log_density(x) - posterior.log_density(x)
    assert (difference - difference.mean()).abs().max() <= 1e-7 * (1 + difference.abs().max())


@given(linear_problems(max_dimension=1))
@settings(max_examples=25)
def test_moments_and_evidence_agree_with_quadrature(problem):
    posterior = solve(problem)
    mean, std = posterior.mean(), posterior.std()
    x = mean + torch.linspace(-40, 40, 80001, dtype=torch.float64)[:, None] * std
    w = problem.log_density(x).exp()
    w = w / w.sum()
    assert abs(w @ x - mean) <= 1e-6 * std
    assert abs(w @ (x - mean) ** 2 - posterior.covariance()[0]) <= 1e-5 * std**2
    probability = posterior.distribution(x[40000:40001], torch.ones(1, 1, dtype=torch.float64))
    assert abs(w[:40000].sum() + w[40000] / 2 - probability) <= 1e-6
