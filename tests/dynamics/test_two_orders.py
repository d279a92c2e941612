"""Regularise and condition in both orders: two laws, and how flows of either follow them."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.core.streams import Streams
from mempost.methods.statistics import distances
from mempost.methods.statistics.per_draw import chi_squared
from mempost.plugins.guidance.finite_sample import FiniteSampleGuidance
from mempost.plugins.guidance.regularised import Regularised
from mempost.plugins.metrics.between_references import BetweenReferences
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.tikhonov import Tikhonov
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights
from mempost.plugins.samplers.guided import Guided

ATOMS = {"type": "empirical_gmm", "bandwidth": 0.0}
D, M, N, GAMMA = 5, 2, 20, 0.3
X = Streams(4, "data").at().normal((N, D))
F = Streams(5, "data").at().normal((M, D)) / math.sqrt(D)
Y = F @ X[:2].mean(0)
"""Data of the mean of two examples, so that more than one carries mass."""
SAMPLING = Streams(1, "sampling")


def problem(prior):
    return InverseProblem(prior, Linear(matrix=F.tolist()), GaussianNoise(GAMMA), Y)


def weights():
    return FiniteSampleWeights().posterior(problem(EmpiricalGMM(bandwidth=0.0).fit(X))).weights


def score_first(c):
    """Condition, then regularise: sum_n q_n N(x_n, c I)."""
    return FiniteSampleWeights(bandwidth=math.sqrt(c)).posterior(
        problem(EmpiricalGMM(bandwidth=0.0).fit(X))
    )


def prior_first(c):
    """Regularise, then condition: the exact posterior under kernels."""
    return ExactLGM().posterior(problem(EmpiricalGMM(bandwidth=math.sqrt(c)).fit(X)))


def flow(c, n, start="marginal"):
    sampler = Guided(
        guidance="regularised",
        schedule={"type": "ve", "sigma_min": 1e-4, "sigma_max": 30.0},
        t_min=0.0,
        start=start,
        solver={"type": "dormand_prince", "tolerance": 1e-3},
        tile=-(-n // 32) * 32,
    )
    return sampler.sample(problem(Tikhonov(base=ATOMS, c=c).fit(X)), n, SAMPLING).flat


def law_of_misfit(c):
    q = weights()
    residual = (Y - X @ F.T) / GAMMA
    return float(q @ residual.square().sum(1) + c * F.square().sum() / GAMMA**2) / M


def small():
    """A c with sqrt(c) a tenth of the smallest distance of atoms that carry mass."""
    heavy = X[weights() > 1e-3]
    apart = torch.cdist(heavy, heavy)
    return float(apart[apart > 0].min() / 10) ** 2


def misfit(x):
    values = chi_squared(problem(EmpiricalGMM(bandwidth=0.0).fit(X)), x)
    return float(values.mean()), float(values.std() / math.sqrt(len(x)))


def distance_and_floor(c, n):
    """Sliced Wasserstein-1 of flow and law, and the largest of 99 splits of exact draws."""
    law = score_first(c).sample(2 * n, Streams(2, "sampling"))
    along = distances.directions(D, 32, Streams(0, "metric").at())
    signs = torch.cat([law.new_full((n,), 1 / n), law.new_full((n,), -1 / n)])[None]

    def apart(both):
        return float(distances.sliced_wasserstein(both, signs, along))

    splits = [Streams(k, "metric").at().permutation(2 * n) for k in range(99)]
    return apart(torch.cat([flow(c, n), law[:n]])), max(apart(law[order]) for order in splits)


def test_the_flow_of_the_regularised_conditional_score_follows_its_law():
    c = small()
    found, error = misfit(flow(c, 1000))
    assert abs(found - law_of_misfit(c)) < 3 * error
    distance, floor = distance_and_floor(c, 1000)
    assert distance < floor


def test_the_flow_departs_from_the_law_where_kernels_overlap():
    for c, departs in ((small(), False), (0.3, True)):
        law = score_first(c).std().square()
        excess = (flow(c, 1000).var(0) - law) / (law * math.sqrt(2 / 1000))  # about normal draws
        assert (float(excess.mean()) > 2) == departs, excess


def test_the_two_orders_have_two_misfits():
    """Means of chi^2 per datum under both closed forms, without sampling."""
    for c in (1e-4, 0.02, 0.1):
        posterior = score_first(c)
        second = posterior.covariance() + torch.outer(posterior.mean(), posterior.mean())
        quadratic = (F @ second @ F.T).trace() - 2 * Y @ F @ posterior.mean() + Y @ Y
        assert float(quadratic / GAMMA**2 / M) == pytest.approx(law_of_misfit(c), rel=1e-9)
    x = prior_first(0.1).sample(4000, SAMPLING)
    assert misfit(x)[0] < law_of_misfit(0.1) - 0.2
    one, other = (f(1e-6).mean() for f in (score_first, prior_first))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)  # they agree as c falls


def test_it_is_what_tikhonov_makes_of_the_conditional_denoiser():
    prior = Tikhonov(base=ATOMS, c=0.3).fit(X)
    z, level = 2 * X[:4] + 0.3, NoiseLevel(0.8, 0.6)
    inner = FiniteSampleGuidance().denoiser(problem(prior.base))(z, level)
    variance, u = (0.6 / 0.8) ** 2, z / 0.8
    found = Regularised().denoiser(problem(prior))(z, level)
    torch.testing.assert_close(found, (0.3 * u + variance * inner) / (variance + 0.3))


def test_moments_and_densities_of_kernels():
    posterior = score_first(0.04)
    x = posterior.sample(20000, SAMPLING)
    error = posterior.std() / math.sqrt(len(x))
    assert bool(((x.mean(0) - posterior.mean()).abs() < 4 * error).all())
    assert bool((x.std(0) / posterior.std() - 1).abs().max() < 0.03)
    torch.testing.assert_close(posterior.covariance().diagonal().sqrt(), posterior.std())
    components = torch.distributions.MultivariateNormal(X, 0.04 * torch.eye(D).double())
    expected = torch.logsumexp(posterior.log_weights + components.log_prob(x[:5, None]), 1)
    torch.testing.assert_close(posterior.log_density(x[:5]), expected)
    (marginal,) = posterior.marginals([2])
    assert float(marginal.cdf(x.new_tensor([0.1]))) == pytest.approx(
        float((x[:, 2] <= 0.1).double().mean()), abs=0.02
    )


def test_positions_between_references():
    """Normal laws at 0 and 3 on the line, draws at 1: distances 1 and 2, position 1/3."""
    prior = EmpiricalGMM(bandwidth=0.0).fit(torch.tensor([[-40.0], [900.0]]).double())
    results = {}
    for k, (key, mean) in enumerate({"first": 0.0, "second": 3.0, "drawn": 1.0}.items()):
        x = mean + Streams(k, "sampling").at().normal((2000, 1))
        samples = Samples.independent(x)
        results[key] = Result(
            key, {}, Silent(), InverseProblem(prior), None, None, 1, lambda s=samples: s, results
        )
    metric = BetweenReferences(first="first", second="second", draws=500)
    found = metric.evaluate(results["drawn"])
    columns = found.columns
    for name, law in (("to_first", 1), ("to_second", 2), ("between", 3), ("position", 1 / 3)):
        assert columns[name] == pytest.approx(law, abs=0.2 if name != "position" else 0.04)
    assert columns["position_low"] < columns["position"] < columns["position_high"]
    assert columns["between_floor"] < 0.2
    results["drawn"].measured = dict(found)
    (said,) = metric.verdict([results["drawn"]])
    assert said.startswith("drawn is, within components, nearer to first: position 0.3")


class Silent(Guided):
    """A sampler without a posterior."""


def test_what_cannot_be_is_refused():
    with pytest.raises(PluginError, match="regularised needs a prior that it stands on"):
        Regularised().check(problem(EmpiricalGMM(bandwidth=0.1).fit(X)))
    with pytest.raises(ValidationError, match="UnitGradient moves z after the step"):
        Regularised(guidance="unit_gradient")
