"""Populations count as their mean weights say: many small ones are as good as a large one."""

import torch

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.importance import Importance
from mempost.plugins.samplers.quadrature import Quadrature
from mempost.plugins.samplers.smc import SMC

POINTS = torch.tensor([[-1.0], [1.0]]).double()


def folded_problem():
    """x + x^2/2 = 1/2 at two points, one of which the linearised proposal hardly reaches."""
    prior = EmpiricalGMM(bandwidth=0.8).fit(POINTS)
    y = torch.tensor([0.5]).double()
    operator = Polynomial(coefficients=(0.0, 1.0, 0.5))
    return InverseProblem(prior, operator, GaussianNoise(0.3), y)


def share_below_zero(x: torch.Tensor) -> float:
    return float((x < 0).double().mean())


def test_the_bias_of_small_populations_falls_with_their_number():
    """Equal weights leave the bias of one population of 32: .13 for .27, with an error of .01."""
    problem = folded_problem()
    posterior = Quadrature().posterior(problem)
    exact = float(posterior.expectation(lambda x: (x[:, 0] < 0).double()))
    sampler, streams, n = Importance(population=32), Streams(3, "sampling"), 32 * 400
    tiles = [sampler.sample_tile(problem, k, streams) for k in range(400)]
    single = torch.stack([(tile.values < 0).double().mean() for tile in tiles])
    pooled = share_below_zero(sampler.join(tiles, n, streams).flat)
    weights = torch.cat([t.stats["proposal_log_weight"].logsumexp(0) for t in tiles]).softmax(0)
    error = float((weights**2 * (single - exact) ** 2).sum().sqrt())
    assert abs(pooled - exact) < 4 * error
    assert abs(float(single.mean()) - exact) > 8 * float(single.std()) / len(single) ** 0.5


def test_one_population_stays_as_it_is():
    problem, streams = folded_problem(), Streams(0, "sampling")
    for sampler in (Importance(population=64), SMC(particles=64)):
        tile = sampler.sample_tile(problem, 0, streams)
        assert torch.equal(sampler.join([tile], 50, streams).values[0], tile.values[:50, 0])


def test_statistics_of_draws_follow_them():
    problem = InverseProblem(
        EmpiricalGMM(bandwidth=0.6).fit(POINTS), Identity(), GaussianNoise(0.5), POINTS[1]
    )
    draws = SMC(particles=64).sample(problem, 160, Streams(1, "sampling"))
    found = draws.stats["log_density"].flatten()
    torch.testing.assert_close(found, problem.log_density(draws.flat))
    assert draws.stats["population"].unique().tolist() == [0, 1, 2]
