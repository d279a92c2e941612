"""How far linearisation holds, when components separate, and the pictures of both."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from fwi_exact_problems import cubic, random, small_fwi
from scipy import optimize, stats

from mempost.core.dataset import Data
from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import PosteriorSampler
from mempost.core.streams import Streams
from mempost.methods.mixtures.mixture_marginals import GaussianMixture1D
from mempost.methods.posteriors.component_updates import linearisations_of
from mempost.methods.posteriors.separation import Gaps
from mempost.plugins.figures.collapse_curves import CollapseCurves
from mempost.plugins.figures.marginals import Marginals
from mempost.plugins.figures.mixture_means import MixtureMeans, weight_label
from mempost.plugins.metrics.collapse import Collapse
from mempost.plugins.metrics.linearisation import Linearisation
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights


def result_of(
    problem: InverseProblem, sampler: PosteriorSampler | None = None, **point: object
) -> Result:
    sampler = sampler or ExactLGM()
    samples = sampler.sample(problem, 64, Streams(3, "sampling"))
    means = problem.prior.means  # type: ignore[attr-defined]
    return Result(
        key="lgm",
        point={name.replace("__", "."): value for name, value in point.items()},
        sampler=sampler,
        problem=problem,
        data=Data(means, means[:0]),
        truth=means[0],
        seed=1,
        load_samples=lambda: samples,
    )


# -- linearisation ---------------------------------------------------------------------------------


def test_departure_of_a_quadratic_in_closed_form() -> None:
    """F = x + b x^2 from x_n = 0: delta = -b x^2 / gamma, and E x^4 = 3 h^4 over the prior."""
    b, h, gamma = 0.4, 0.3, 0.2
    prior = EmpiricalGMM(bandwidth=h).fit(torch.zeros(1, 1, dtype=torch.float64))
    problem = InverseProblem(
        prior,
        Polynomial(coefficients=[0, 1, b]),
        GaussianNoise(gamma),
        torch.full((1,), 0.1, dtype=torch.float64),
    )
    columns = Linearisation(draws=200_000).evaluate(result_of(problem)).columns
    assert columns["linearisation_residual_prior"] == pytest.approx(
        3 * b**2 * h**4 / (2 * gamma**2), rel=0.03
    )
    k = h**2 / (h**2 + gamma**2)
    mean, variance = 0.1 * k, gamma**2 * k
    fourth = mean**4 + 6 * mean**2 * variance + 3 * variance**2
    assert columns["linearisation_residual"] == pytest.approx(
        b**2 * fourth / (2 * gamma**2), rel=0.03
    )
    actual = 0.1**2 - (0.1 - mean - b * mean**2) ** 2
    assert columns["misfit_ratio"] == pytest.approx(actual / (0.1**2 - (0.1 - mean) ** 2))


def test_departure_grows_as_the_fourth_power_of_the_bandwidth() -> None:
    values = [
        Linearisation().evaluate(result_of(small_fwi(h))).columns["linearisation_residual_prior"]
        for h in (0.01, 0.02)
    ]
    assert values[1] / values[0] == pytest.approx(16, rel=0.1)


def test_where_linearisation_fails_the_verdict_says_so() -> None:
    metric, verdicts = Linearisation(), []
    for h in (0.01, 1.0):
        result = result_of(small_fwi(h, relative=0.005), prior__bandwidth=h)
        result.measured = metric.evaluate(result)
        verdicts += metric.verdict([result])
    assert "bandwidth = 0.01: linearisation holds" in verdicts[0]
    assert "bandwidth = 1.0: linearisation fails" in verdicts[1]
    number = re.search(r"by ([0-9.e+]+) nats over the posterior", verdicts[1])
    assert number and float(number[1]) > 1


def test_modes_are_better_tangents() -> None:
    problem = small_fwi(0.3, relative=0.005)
    metric = Linearisation()
    plain = metric.evaluate(result_of(problem)).columns
    found = metric.evaluate(result_of(problem, ExactLGM(relinearise="map"))).columns
    assert found["linearisation_residual"] < 0.1 * plain["linearisation_residual"]
    assert found["unconverged_mass"] == 0.0 and "unconverged_mass" not in plain


def test_nothing_for_other_samplers_and_linear_maps() -> None:
    assert Linearisation().evaluate(result_of(cubic(3, 7), FiniteSampleWeights())).columns == {}
    prior = EmpiricalGMM(bandwidth=0.1).fit(random(3, 2))
    linear = InverseProblem(prior, Identity(), GaussianNoise(1.0), random(2))
    assert Linearisation().evaluate(result_of(linear)).columns == {}


# -- separation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "m"), [(3, 7), (7, 3)])
def test_gaps_equal_dense_quadratic_forms(d: int, m: int) -> None:
    problem = cubic(d, m)
    gaps = Gaps.of(linearisations_of(problem, False), 3)
    y, jacobians = problem.operator.jacobian(problem.prior.means)  # type: ignore[attr-defined]
    h, gamma = torch.tensor([0.1, 1.0, 3.0]).double(), torch.tensor([0.5, 0.2, 2.0]).double()
    found = gaps.gaps(h, gamma)
    for row, n in enumerate(gaps.references.tolist()):
        for k in range(len(y)):
            f = y[n] - y[k]
            c = gamma[row] ** 2 * torch.eye(m).double()
            c = c + h[row] ** 2 * jacobians[k] @ jacobians[k].mT
            expected = 0.5 * f @ torch.linalg.solve(c, f)
            torch.testing.assert_close(found[row, k], expected, rtol=1e-9, atol=1e-10)


def test_the_gap_is_the_expected_difference_of_log_weights() -> None:
    """For F = x all is exact: average over data of component n, at the same x_n and x_k."""
    prior = EmpiricalGMM(bandwidth=0.4).fit(torch.tensor([[0.0, 0.0], [1.0, -0.5]]).double())
    noise = GaussianNoise(0.3)
    problem = InverseProblem(prior, Identity(), noise, torch.zeros(2).double())
    ones = torch.ones(2, dtype=torch.float64)
    gap = Gaps.of(linearisations_of(problem, False), 2).gaps(0.4 * ones, 0.3 * ones)[0, 1]
    y = math.hypot(0.4, 0.3) * random(4000, 2, seed=9)
    sampler = ExactLGM()
    weights = torch.stack([sampler.posterior(problem.with_data(v)).log_weights for v in y[:400]])
    differences = weights[:, 0] - weights[:, 1]
    error = float(differences.std()) / 20
    assert abs(float(differences.mean() - gap)) < 4 * error


def test_predicted_scales_solve_their_condition() -> None:
    """Equispaced points on a line under F = 2 x: two neighbours and those beyond."""
    x, slope, spacing = torch.arange(9, dtype=torch.float64)[:, None], 2.0, 1.0
    problem = InverseProblem(
        EmpiricalGMM(bandwidth=0.1).fit(x * spacing),
        Polynomial(coefficients=[0, slope]),
        GaussianNoise(0.3),
        torch.zeros(1, dtype=torch.float64),
    )
    columns = Collapse().evaluate(result_of(problem)).columns
    j = np.arange(9) - 4  # the median example stands in the middle, or close to it

    def excess(h: float, gamma: float) -> float:
        gap = 0.5 * (slope * spacing * j) ** 2 / (gamma**2 + slope**2 * h**2)
        return float(np.exp(-gap).sum() - 1 - 1)

    h = optimize.brentq(lambda h: excess(h, 0.3), 1e-3, 10)
    gamma = optimize.brentq(lambda g: excess(0.1, g), 1e-3, 10)
    assert columns["separation_bandwidth"] == pytest.approx(h, rel=0.02)
    assert columns["separation_noise"] == pytest.approx(gamma, rel=0.02)


def test_no_scale_separates_examples_that_make_the_same_data() -> None:
    """Models that a bound clips to one: the map is constant and has no slope."""
    means = random(4, 2, seed=0)
    problem = InverseProblem(
        EmpiricalGMM(bandwidth=0.1).fit(means),
        Polynomial(coefficients=[1.0]),
        GaussianNoise(0.1),
        torch.ones(2, dtype=torch.float64),
    )
    columns = Collapse().evaluate(result_of(problem)).columns
    assert columns["effective_number"] == pytest.approx(4)
    assert not {"separation_bandwidth", "separation_noise"} & columns.keys()


def test_collapse_is_measured_and_predicted() -> None:
    """Far below the predicted bandwidth one example has all mass, far above many share it."""
    x = 3 * random(20, 2, seed=4)
    numbers = []
    for h in (0.02, 5.0):
        prior = EmpiricalGMM(bandwidth=h).fit(x)
        problem = InverseProblem(prior, Identity(), GaussianNoise(0.1), x[0] + 0.05)
        columns = Collapse().evaluate(result_of(problem)).columns
        assert 0.02 * 5 < columns["separation_bandwidth"] < 5
        numbers.append((columns["effective_number"], columns["atom_distance"]))
    assert numbers[0][0] < 1.01 and numbers[1][0] > 5
    assert numbers[0][1] < 0.2


def test_collapse_without_jacobians_and_of_atoms() -> None:
    problem = cubic(3, 7)
    atoms = InverseProblem(
        EmpiricalGMM(bandwidth=0.0).fit(problem.prior.means),  # type: ignore[attr-defined]
        problem.operator,
        problem.noise,
        problem.y,
    )
    columns = Collapse(separation=False).evaluate(result_of(atoms, FiniteSampleWeights())).columns
    assert columns["atom_distance"] == 0.0
    assert not any(name.startswith("separation") for name in columns)


# -- marginals -------------------------------------------------------------------------------------


def test_quantiles_are_roots_of_the_distribution_function() -> None:
    weights = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    means, stds = torch.tensor([-1.0, 0.5, 4.0]).double(), torch.tensor([0.1, 1.0, 0.3]).double()
    mixture = GaussianMixture1D(weights, means, stds)
    p = torch.tensor([1e-6, 0.025, 0.3, 0.5, 0.799, 0.975, 1 - 1e-6]).double()

    def cdf(x: float) -> float:
        return float(weights.numpy() @ stats.norm.cdf(x, means.numpy(), stds.numpy()))

    expected = [optimize.brentq(lambda x, q=q: cdf(x) - q, -50, 50, xtol=1e-13) for q in p.tolist()]
    np.testing.assert_allclose(mixture.quantile(p), expected, rtol=1e-8, atol=1e-9)
    x = torch.linspace(-3, 6, 50, dtype=torch.float64)
    density = weights.numpy() @ stats.norm.pdf(x.numpy(), means[:, None], stds[:, None])
    np.testing.assert_allclose(mixture.density(x), density, rtol=1e-12, atol=1e-14)


def test_quantiles_of_atoms_are_atoms() -> None:
    mixture = GaussianMixture1D(
        torch.tensor([0.25, 0.75]).double(), torch.tensor([2.0, -1.0]).double(), torch.zeros(2)
    )
    p = torch.tensor([0.01, 0.74, 0.76, 0.99], dtype=torch.float64)
    np.testing.assert_allclose(mixture.quantile(p), [-1, -1, 2, 2], atol=1e-12)
    at = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    assert mixture.cdf(at).tolist() == [0.75, 0.75, 1.0]
    assert mixture.density(at).tolist() == [math.inf, 0.0, math.inf]
    with pytest.raises(ValueError, match="allowed are numbers within"):
        mixture.quantile(torch.tensor([0.0, 0.5]))


@pytest.mark.parametrize("problem", [cubic(3, 7), cubic(7, 3), cubic(3, 7, bandwidth=0.0)])
def test_credible_intervals_hold_their_level(problem: InverseProblem) -> None:
    posterior = ExactLGM().posterior(problem)
    low, high = posterior.credible_intervals(0.9)
    for i, marginal in enumerate(posterior.marginals()):
        ends = marginal.cdf(torch.stack([low[i], high[i]]))
        if problem.prior.bandwidth > 0:  # type: ignore[attr-defined]
            torch.testing.assert_close(ends, torch.tensor([0.05, 0.95]).double())
        else:
            assert ends[0] >= 0.05 and ends[1] >= 0.95


# -- pictures --------------------------------------------------------------------------------------


def names_of(figure: object, results: Sequence[Result]) -> list[str]:
    return [picture.stem for picture in figure.draw(results)]  # type: ignore[attr-defined]


def test_pictures_are_drawn() -> None:
    results = [result_of(small_fwi(h), prior__bandwidth=h) for h in (0.02, 0.05, 0.1)]
    for result in results:
        result.measured = Collapse().evaluate(result)
    assert names_of(MixtureMeans(), results) == ["mixture_means_lgm"]
    assert names_of(Marginals(), results) == ["marginals_0", "marginals_1", "marginals_2"]
    assert names_of(CollapseCurves(), results) == ["collapse_curves_lgm"]


def test_pictures_that_cannot_be_drawn_say_why() -> None:
    atoms = [result_of(small_fwi(0.02), FiniteSampleWeights())]
    with pytest.raises(PluginError, match="exact_lgm"):
        names_of(MixtureMeans(), atoms)
    with pytest.raises(PluginError, match="exact_lgm"):
        names_of(Marginals(), atoms)
    with pytest.raises(PluginError, match=r"prior\.bandwidth"):
        names_of(CollapseCurves(), atoms)
    with pytest.raises(PluginError, match="helmholtz"):
        names_of(MixtureMeans(), [result_of(cubic(3, 7))])


def test_weights_in_print() -> None:
    assert weight_label(math.log(0.5)) == "$w$ = 0.5"
    assert weight_label(-1000.0) == "$w$ = $10^{-434}$"
