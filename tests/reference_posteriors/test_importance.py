"""Importance resampling: against quadrature, closed forms, and weights computed by hand."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from reference_problems import BANDWIDTHS, PROBLEMS, line, linear_problem, z_scores

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.posterior import Posterior
from mempost.core.problem import InverseProblem
from mempost.core.sampler import ExactSampler
from mempost.core.streams import TILE, Streams
from mempost.methods.chains.weights import effective_sample_size
from mempost.methods.posteriors.linearised_mixture import LinearisedMixture
from mempost.plugins.operators.identity import Identity
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.importance import Importance
from mempost.plugins.samplers.mala import MALA
from mempost.plugins.samplers.quadrature import Quadrature


@cache
def exact_answers(name: str, bandwidth: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log evidence and component masses."""
    problem = PROBLEMS[name](bandwidth)
    posterior = Quadrature().posterior(problem)
    return posterior.log_evidence, posterior.expectation(problem.prior.responsibilities)


def replicates(name: str, bandwidth: float, log_determinant: bool):
    problem = PROBLEMS[name](bandwidth)
    sampler = Importance(proposal=ExactLGM(log_determinant=log_determinant), population=512)
    return [sampler.sample(problem, 512, Streams(seed, "sampling")) for seed in range(20)]


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("log_determinant", [True, False])
def test_masses_and_evidence_within_three_standard_errors(name, bandwidth, log_determinant):
    """Whatever the weights of the proposal, those of the draws are right."""
    problem, (log_evidence, exact) = PROBLEMS[name](bandwidth), exact_answers(name, bandwidth)
    runs = replicates(name, bandwidth, log_determinant)
    masses = torch.stack([problem.prior.responsibilities(run.flat).mean(0) for run in runs])
    independent = (exact * (1 - exact) / (20 * 512)).sqrt()
    assert float(z_scores(masses, exact, independent).abs().max()) < 3
    ratios = torch.stack([r.stats["proposal_log_weight"] - log_evidence for r in runs]).exp()
    assert float(z_scores(ratios.mean((1, 2)), torch.ones(()).double()).abs()) < 3


def test_weights_are_all_the_evidence_where_the_proposal_is_the_posterior():
    problem = linear_problem()
    samples = Importance(population=64).sample(problem, 64, Streams(0, "sampling"))
    log_weight = samples.stats["proposal_log_weight"]
    exact = ExactLGM().posterior(problem).log_evidence
    torch.testing.assert_close(log_weight, exact.expand_as(log_weight), rtol=0, atol=1e-9)
    assert len(samples.stats["ancestor"].unique()) == 64


class Narrow(Posterior):
    """One dimension: N(mean, std^2)."""

    def __init__(self, mean: float, std: float) -> None:
        self.normal = torch.distributions.Normal(
            torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        )

    def mean(self):
        return self.normal.loc[None]

    def covariance(self):
        return self.normal.variance[None, None]

    def log_density(self, x):
        return self.normal.log_prob(x[:, 0])

    def _draw(self, stream):
        return self.normal.loc + self.normal.scale * stream.normal((TILE, 1))


class Off(ExactSampler):
    """A normal proposal, moved and scaled from N(0, 1/2)."""

    shift: float = 0.0
    scale: float = 1.0

    def posterior(self, problem: InverseProblem) -> Narrow:
        return Narrow(self.shift, self.scale * math.sqrt(0.5))


@pytest.mark.parametrize(("shift", "scale"), [(0.3, 1.0), (0.0, 1.5), (0.0, 0.9)])
def test_effective_sample_size_in_closed_form(shift, scale):
    """x ~ N(0, 1), y = x + N(0, 1) = 0: the posterior is N(0, 1/2), q = N(shift, scale^2/2).

    With unit normals of widths 1 and s apart by m, ESS/n = 1/E_q[(p/q)^2] in closed form.
    """
    prior = EmpiricalGMM(bandwidth=1.0).fit(torch.zeros(1, 1, dtype=torch.float64))
    zero = torch.zeros(1, dtype=torch.float64)
    problem = InverseProblem(prior, Identity(), GaussianNoise(1.0), zero)
    m, v = shift / math.sqrt(0.5), scale**2
    inverse = v / math.sqrt(2 * v - 1) * math.exp(m**2 / (2 * v - 1))
    n = 16_384
    sampler = Importance(proposal=Off(shift=shift, scale=scale), population=n)
    samples = sampler.sample(problem, n, Streams(0, "sampling"))
    log_weight = samples.stats["proposal_log_weight"].flatten()
    assert effective_sample_size(log_weight) / n == pytest.approx(1 / inverse, rel=0.03)
    x = samples.flat[:, 0]
    error = math.sqrt(0.5 / n) * (1 + inverse) ** 0.5
    assert abs(float(x.mean())) < 4 * error
    assert float(x.var()) == pytest.approx(0.5, rel=4 * math.sqrt(2 * (1 + inverse) / n))


def test_statistics_belong_to_the_proposals_and_name_the_ancestors():
    """Draw i of a population is proposal ancestor_i; proposals are the tiles of the mixture's."""
    problem, streams = line(0.5), Streams(3, "sampling")
    samples = Importance(population=96).sample(problem, 150, streams)
    assert samples.values.shape == (1, 150, 1)
    q = ExactLGM().posterior(problem)
    x = q.sample(192, streams)
    log_weight = problem.log_density(x) - q.log_density(x)
    torch.testing.assert_close(samples.stats["proposal_log_weight"][0], log_weight[:150])
    ancestor = samples.stats["ancestor"][0] + 96 * (torch.arange(150) >= 96)
    tiles = [Importance(population=96).sample_tile(problem, k, streams).flat for k in (0, 1)]
    assert torch.equal(torch.cat(tiles)[:150], x[ancestor])
    assert torch.isin(samples.values[0], torch.cat(tiles)).all()


def test_populations_are_the_same_in_any_order():
    problem, streams, sampler = line(0.3), Streams(1, "sampling"), Importance(population=64)
    together = sampler.sample(problem, 128, streams).flat
    second = sampler.sample_tile(problem, 1, streams)
    first = sampler.sample_tile(problem, 0, streams)
    assert torch.equal(sampler.join([first, second], 128, streams).flat, together)


def test_a_proposal_is_built_once_for_all_populations(monkeypatch):
    built = []
    make = LinearisedMixture.of
    monkeypatch.setattr(LinearisedMixture, "of", lambda *args: built.append(args) or make(*args))
    Importance(population=32).sample(line(0.3), 96, Streams(0, "sampling"))
    assert len(built) == 1


def test_refusals():
    problem = line(0.5)
    with pytest.raises(PluginError, match="MALA has no posterior in closed form"):
        Importance(proposal=MALA()).sample(problem, 32, Streams(0, "sampling"))
    with pytest.raises(PluginError, match="no log density"):
        Importance().check(line(0.0))


class Prepared(ExactLGM):
    """Remembers which parts were prepared."""

    @property
    def preparations(self) -> int:
        return 3

    def prepare(self, problem, part, progress=None):
        raise LookupError(part)


def test_the_proposal_is_prepared():
    sampler = Importance(proposal=Prepared())
    assert sampler.preparations == 3
    with pytest.raises(LookupError, match="2"):
        sampler.prepare(line(0.5), 2)


def test_a_spec_names_the_proposal():
    sampler = Importance.model_validate({"proposal": {"type": "exact_lgm"}, "population": 256})
    assert sampler.proposal == ExactLGM()
    assert Importance.model_validate(sampler.model_dump(mode="json")) == sampler
