"""Waves through six coefficients: two methods that share nothing but the density agree."""

from __future__ import annotations

import math

import pytest
import torch

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.chains.weights import effective_sample_size, log_mean
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.operators.squared_slowness import SquaredSlowness
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.importance import Importance
from mempost.plugins.samplers.smc import SMC


def wave_problem() -> InverseProblem:
    """Six models as kernels, waves of 2 Hz through the average of three of them, 10 % noise."""
    waves = Helmholtz(
        shape=(16, 16),
        spacing=0.1,
        frequencies=[2.0],
        sources={"start": [0.1, 0.1], "stop": [1.5, 0.1], "number": 2},
        receivers={"start": [0.1, 1.5], "stop": [1.5, 1.5], "number": 6},
    )
    basis = KLCosine(shape=(16, 16), modes=(3, 2), scale=0.3)
    operator = waves @ SquaredSlowness(bounds=(1.0, 6.0)) @ basis
    prior = EmpiricalGMM(bandwidth=0.3).fit(Streams(3, "training").at().normal((6, 6)))
    largest = float(operator(prior.means).abs().max())
    noise = GaussianNoise(0.1 * largest, complex=True)
    truth = prior.means[:3].mean(0, keepdim=True)
    y = noise.perturb(operator(truth)[0], Streams(0, "noise").at())
    return InverseProblem(prior, operator, noise, y)


def importance(problem, proposal):
    samples = Importance(population=512, proposal=proposal).sample(
        problem, 512, Streams(0, "sampling")
    )
    log_weight = samples.stats["proposal_log_weight"].flatten()
    return samples.flat, *log_mean(log_weight), effective_sample_size(log_weight) / 512


def test_linearisation_at_the_modes_makes_the_better_proposal():
    problem = wave_problem()
    *_, at_means = importance(problem, ExactLGM())
    *_, at_modes = importance(problem, ExactLGM(relinearise="map"))
    assert at_means < 0.05
    assert at_modes > 0.9


@pytest.mark.slow
def test_a_tempered_population_agrees_with_importance_sampling():
    """Evidence and moments; 128 particles of six unknowns count as 32 draws at least."""
    problem = wave_problem()
    x, log_evidence, error, _ = importance(problem, ExactLGM(relinearise="map"))
    samples = SMC(particles=128).sample(problem, 256, Streams(0, "sampling"))
    estimates = samples.stats["log_evidence"][0, ::128]
    assert error < 0.02
    assert float(estimates.exp().mean().log()) == pytest.approx(log_evidence, abs=0.6)
    z = (samples.flat.mean(0) - x.mean(0)) / x.std(0) / math.sqrt(1 / 64 + 1 / 500)
    assert float(z.abs().max()) < 4
    ratio = samples.flat.var(0) / x.var(0)
    assert float((ratio - 1).abs().max()) < 4 * math.sqrt(2 / 64 + 2 / 500)
    assert torch.isfinite(samples.flat).all()
