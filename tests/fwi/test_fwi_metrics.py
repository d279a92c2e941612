"""Misfit, velocity error, calibration and support against direct evaluations and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from fwi_problems import EXACT, SERIES, interpolations, normal, results_of, wave_problem
from metric_results import NormalMixture, problem_of
from metric_results import results_of as plain_results

from mempost.core.coordinates import Coordinates
from mempost.core.measured import Measured
from mempost.core.sampler import Samples
from mempost.methods.statistics import calibration_curve
from mempost.plugins.metrics.error_decomposition import ErrorDecomposition
from mempost.plugins.metrics.misfit import Misfit
from mempost.plugins.metrics.pixel_calibration import PixelCalibration
from mempost.plugins.metrics.posterior_support import PosteriorSupport
from mempost.plugins.metrics.velocity_error import VelocityError
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights


@pytest.fixture(scope="module")
def waves():
    return wave_problem()


def velocities(problem, x):
    """km/s, written out: raw coefficients, the cosine series, 1/sqrt(m)."""
    return SERIES(problem.prior.coordinates.to_raw(x)) ** -0.5


# -- misfit ---------------------------------------------------------------------------------------


def test_misfit_is_the_squared_residual_per_real_datum(waves):
    problem, data, truth = waves
    x = interpolations(data, 5)
    result = results_of(problem, data, truth, {"a": x})["a"]
    columns = Misfit().evaluate(result).columns

    def chi2(state):
        residual = problem.y - problem.operator(state[None])[0]
        return float((residual.abs() ** 2).mean() / problem.noise.std**2)

    assert columns["misfit"] == pytest.approx(sum(map(chi2, x)) / 5, rel=1e-10)
    assert columns["misfit_of_mean"] == pytest.approx(chi2(x.mean(0)), rel=1e-10)
    assert columns["misfit_of_truth"] == pytest.approx(chi2(truth), rel=1e-10)
    # 24 real data: 1 +- sqrt(2/24)
    assert columns["misfit_of_truth"] == pytest.approx(1, abs=4 * math.sqrt(2 / 24))


def test_interval_of_the_misfit_is_that_of_a_mean():
    problem = problem_of(normal(5, 3), y=[0.0, 0.0, 0.0], std=1.0)
    result = plain_results(problem, {"a": normal(400, 3, seed=3)})["a"]
    columns = Misfit(draws=400).evaluate(result).columns
    error = math.sqrt(2 / 3 / 400)  # |x|^2 / 3 has variance 2/3
    assert columns["misfit"] == pytest.approx(1, abs=4 * error)
    width = columns["misfit_high"] - columns["misfit_low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_misfit_evaluates_few_and_distinct_draws():
    calls = []

    class Counting(type(problem_of(normal(2, 2)).operator)):
        def forward(self, x):
            calls.append(len(x))
            return x

    problem = problem_of(normal(5, 2), operator=Counting(), std=1.0)
    x = normal(5, 2)[torch.arange(200) % 2]
    columns = Misfit(draws=50).evaluate(plain_results(problem, {"a": x})["a"]).columns
    assert sum(calls) == 2 + 1  # two states and their mean
    assert columns["misfit"] == pytest.approx(float(x[:2].square().mean()), rel=1e-12)


def test_misfit_of_a_closed_form_uses_its_mean():
    problem = problem_of([[0.0], [4.0]], y=[1.0], std=0.5)
    posterior = NormalMixture([0.25, 0.75], [[0.0], [4.0]], 0.0)
    result = plain_results(problem, {"a": posterior})["a"]
    assert Misfit(resamples=10).evaluate(result).columns["misfit_of_mean"] == pytest.approx(16)


def test_no_misfit_of_calibration_draws():
    problem = problem_of(normal(5, 2))
    samples = Samples(normal(3, 4, 2), truths=normal(3, 2))
    result = plain_results(problem, {"a": samples})["a"]
    assert Misfit().evaluate(result).columns == {}
    assert (
        VelocityError().evaluate(result).columns
        == PixelCalibration().evaluate(result).columns
        == {}
    )


# -- velocity -------------------------------------------------------------------------------------


def test_velocity_error_in_kilometres_a_second(waves):
    problem, data, truth = waves
    x = interpolations(data, 40)
    columns = VelocityError().evaluate(results_of(problem, data, truth, {"a": x})["a"]).columns
    error = velocities(problem, x) - velocities(problem, truth[None])
    single = error.square().mean((1, 2)).sqrt()
    assert columns["velocity_rmse_samples"] == pytest.approx(float(single.mean()), rel=1e-9)
    assert columns["velocity_rmse_best"] == pytest.approx(float(single.min()), rel=1e-9)
    of_mean = float(error.mean(0).square().mean().sqrt())
    assert columns["velocity_rmse_mean"] == pytest.approx(of_mean, rel=1e-9)
    assert columns["velocity_rmse_mean_low"] < of_mean < columns["velocity_rmse_mean_high"]
    assert of_mean < float(single.mean())


def test_velocity_needs_waves_and_a_truth(waves):
    problem, data, _ = waves
    x = data.train
    assert VelocityError().evaluate(results_of(problem, data, None, {"a": x})["a"]).columns == {}
    plain = plain_results(problem_of(normal(4, 2)), {"a": normal(4, 2)}, truth=normal(2))["a"]
    assert VelocityError().evaluate(plain).columns == {}


# -- spread against error -------------------------------------------------------------------------


def test_calibrated_places_have_ratio_one():
    """Truth and draws from the same Gaussian in every one of many coordinates."""
    d, n = 4000, 400
    scale = torch.linspace(0.2, 3.0, d, dtype=torch.float64)
    draws, truth = scale * normal(n, d), scale * normal(d, seed=1)
    result = plain_results(problem_of(draws[:2]), {"a": draws}, truth=truth)["a"]
    columns = PixelCalibration().evaluate(result).columns
    assert columns["coefficient_calibration_ratio"] == pytest.approx(1, abs=0.06)
    assert columns["coefficient_calibration_slope"] == pytest.approx(
        math.sqrt(2 / math.pi), abs=0.05
    )
    assert "pixel_calibration_ratio" not in columns


def test_curve_has_equal_counts_and_rising_spread():
    found = calibration_curve.SpreadAndError(normal(300).abs(), normal(300, seed=1).abs())
    std, error = found.curve(30)
    order = found.std.argsort()
    assert torch.allclose(std, found.std[order].reshape(30, 10).mean(1))
    assert torch.allclose(error, found.error[order].reshape(30, 10).mean(1))
    assert len(found.curve(1000)[0]) == 300


def test_pixels_are_velocities(waves):
    problem, data, truth = waves
    x = interpolations(data, 30)
    result = results_of(problem, data, truth, {"a": x})["a"]
    v, v_true = velocities(problem, x), velocities(problem, truth[None])[0]
    std, error = v.std(0), (v.mean(0) - v_true).abs()
    found = calibration_curve.of_velocity(result)
    assert torch.allclose(found.std, std.flatten()) and torch.allclose(found.error, error.flatten())
    columns = PixelCalibration().evaluate(result).columns
    ratio = float(error.square().mean().sqrt() / std.square().mean().sqrt())
    assert columns["pixel_calibration_ratio"] == pytest.approx(ratio, rel=1e-9)
    raw = problem.prior.coordinates.to_raw
    error = (raw(x).mean(0) - raw(truth)).square().mean().sqrt()
    ratio = float(error / raw(x).std(0).square().mean().sqrt())
    assert columns["coefficient_calibration_ratio"] == pytest.approx(ratio, rel=1e-9)


def test_no_ratio_without_spread(waves):
    problem, data, truth = waves
    copies = data.train[[0] * 7]
    result = results_of(problem, data, truth, {"a": copies})["a"]
    assert PixelCalibration().evaluate(result).columns == {}


# -- the exact posterior --------------------------------------------------------------------------


def test_weights_are_those_of_direct_forward_solves(waves):
    problem, data, truth = waves
    result = results_of(problem, data, truth, {"exact": EXACT})["exact"]
    log_likelihood = torch.stack(
        [
            -(problem.y - problem.operator(x[None])[0]).abs().square().sum() / problem.noise.std**2
            for x in data.train
        ]
    )
    log_weights = torch.log_softmax(log_likelihood, 0)
    assert torch.allclose(result.posterior.log_weights, log_weights, rtol=1e-9, atol=1e-9)
    columns = PosteriorSupport().evaluate(result).columns
    ordered = log_weights.sort(descending=True).values
    assert columns["support_gap"] == pytest.approx(float(ordered[0] - ordered[1]), rel=1e-9)
    assert columns["support_of"] == 8


def test_support_counts_the_examples_that_hold_the_mass():
    """Log likelihoods of -x^2/2: weights 4/9, 4/9, 1/9 at 1/2, -1/2, sqrt(1/4 + 2 log 4)."""
    points = [[0.5], [-0.5], [math.sqrt(0.25 + 2 * math.log(4))]]
    problem = problem_of(points, std=1.0)
    posterior = FiniteSampleWeights().posterior(problem)
    result = plain_results(problem, {"exact": posterior})["exact"]
    for share, size in ((0.4, 1), (0.5, 2), (0.88, 2), (0.95, 3)):
        columns = PosteriorSupport(share=share).evaluate(result).columns
        assert columns["support_size"] == size
    assert columns["support_largest"] == pytest.approx(4 / 9)
    assert columns["support_gap"] == pytest.approx(0, abs=1e-12)
    other = plain_results(problem, {"a": NormalMixture([1.0], [[0.0]], 1.0)})["a"]
    assert PosteriorSupport().evaluate(other).columns == {}


def test_support_is_said_in_words():
    problem = problem_of([[0.0], [30.0]], std=1.0)
    posterior = FiniteSampleWeights().posterior(problem)
    result = plain_results(problem, {"exact": posterior})["exact"]
    result.measured = PosteriorSupport().evaluate(result)
    (said,) = PosteriorSupport().verdict([result])
    assert said == (
        "exact: 1 of 2 training examples holds 99.9% of the posterior mass; "
        "the second is 450 nats behind."
    )


# -- decomposition --------------------------------------------------------------------------------

SPLIT = ErrorDecomposition(counterparts={"learned": "empirical"}, resamples=400)


def split_of(waves, learned, empirical):
    problem, data, truth = waves
    answers = {"exact": EXACT, "learned": learned, "empirical": empirical}
    results = results_of(problem, data, truth, answers, n=16)
    return results, SPLIT.evaluate(results["learned"]).columns


def test_parts_telescope_and_are_differences_of_means(waves):
    data = waves[1]
    learned, empirical = interpolations(data, 20), interpolations(data, 24, seed=6)
    results, columns = split_of(waves, learned, empirical)
    for name in ("misfit", "memorized", "velocity_rmse"):
        total, prior, sampler = (
            columns[f"{name}_error_{part}"] for part in ("total", "prior", "sampler")
        )
        assert total == pytest.approx(prior + sampler, rel=1e-12, abs=1e-13)
    misfit = {
        key: Misfit(draws=1000, resamples=10).evaluate(results[key]).columns["misfit"]
        for key in ("exact", "learned")
    }
    assert columns["misfit_error_total"] == pytest.approx(misfit["learned"] - misfit["exact"])
    rmse = VelocityError(resamples=10)
    error = rmse.evaluate(results["learned"]).columns["velocity_rmse_samples"]
    exact = rmse.evaluate(results["exact"]).columns["velocity_rmse_samples"]
    assert columns["velocity_rmse_error_total"] == pytest.approx(error - exact)
    assert columns["distance_total"] <= columns["distance_bound"] + 1e-12
    assert columns["distance_bound"] == columns["distance_prior"] + columns["distance_sampler"]
    assert (
        SPLIT.evaluate(results["empirical"]).columns
        == SPLIT.evaluate(results["exact"]).columns
        == {}
    )
    assert set(SPLIT.needs(())) == {"exact", "learned", "empirical"}


def test_equal_draws_leave_the_prior_no_part(waves):
    x = interpolations(waves[1], 20)
    _, columns = split_of(waves, x, x)
    for name in ("misfit_error", "memorized_error", "velocity_rmse_error"):
        assert columns[f"{name}_prior"] == 0
        assert not columns[f"{name}_prior_low"] > 0 and not columns[f"{name}_prior_high"] < 0
        assert columns[f"{name}_total"] == columns[f"{name}_sampler"]
    assert columns["distance_prior"] == pytest.approx(0, abs=1e-12)
    assert columns["distance_total"] == pytest.approx(columns["distance_sampler"])


def test_pairs_share_their_random_numbers():
    """Draws that differ by a small independent part: the interval is that of the difference."""
    n = 400
    common = normal(n, 1)
    shifted = common + 0.1 + 0.01 * normal(n, 1, seed=1)
    problem = problem_of([[0.0], [1.0]], y=[0.0], std=1.0)
    answers = {"exact": normal(n, 1, seed=2), "learned": shifted, "empirical": common}
    results = plain_results(problem, answers, truth=torch.zeros(1).double())
    split = ErrorDecomposition(
        counterparts={"learned": "empirical"}, draws=n, quantities=["misfit"]
    )
    columns = split.evaluate(results["learned"]).columns
    difference = (shifted.square() - common.square()).flatten()
    error = float(difference.std()) / math.sqrt(n)
    width = columns["misfit_error_prior_high"] - columns["misfit_error_prior_low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.15)
    unpaired = columns["misfit_error_sampler_high"] - columns["misfit_error_sampler_low"]
    assert unpaired == pytest.approx(2 * 1.96 * math.sqrt(2 * 2 / n), rel=0.25)
    assert width < unpaired / 3


def test_priors_with_other_coordinates_are_compared_in_raw_ones():
    problem = problem_of([[0.0], [1.0], [5.0]], y=[0.0], std=1.0)
    x = normal(50, 1)
    plain = plain_results(problem, {"exact": x, "learned": x, "empirical": x})
    other = problem_of([[0.0], [1.0], [5.0]], y=[0.0], std=1.0)
    other.prior.coordinates = Coordinates(torch.tensor([2.0]), torch.tensor([4.0]))
    plain["learned"].problem = other
    columns = SPLIT.evaluate(plain["learned"]).columns
    shift = (2 + 4 * x - x).abs().mean()  # both maps rise: W1 pairs equal ranks
    assert columns["distance_prior"] == pytest.approx(float(shift), rel=1e-9)


def test_decomposition_is_said_in_words():
    result = plain_results(problem_of([[0.0], [1.0]]), {"learned": normal(4, 1)})["learned"]
    result.point = {"data.dataset.n_train": 50}
    errors = [[error, error - 1, error + 1] for error in (3.0, -1.0, 4.0)]
    parts = {"part": ["total", "prior", "sampler"]}
    result.measured = dict(Measured({"misfit_error": (("part", "bound"), errors)}, parts))
    (said,) = SPLIT.verdict([result])
    assert said == (
        "n_train = 50: learned: misfit off by +3 from the exact posterior's, "
        "-1 by the prior and +4 by the sampler."
    )
