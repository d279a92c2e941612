"""Pairs in place of a likelihood: when weights are the exact ones, and when they are one pair."""

from __future__ import annotations

import math

import pytest
import torch

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.guidance.finite_sample import FiniteSampleGuidance
from mempost.plugins.guidance.paired_kernel import PairedKernel
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM

X = Streams(4, "data").at().normal((6, 3))
GAMMA = 0.7


def problem(std=GAMMA):
    prior = EmpiricalGMM(bandwidth=0.0).fit(X)
    y = torch.tensor([0.3]).double()
    return InverseProblem(prior, Linear(matrix=[[1.0, 0.5, -0.4]]), GaussianNoise(std), y)


def exact(std=GAMMA):
    return FiniteSampleGuidance().conditioned(problem(std)).weights


def test_pairs_without_noise_give_the_exact_weights():
    found = PairedKernel(noise=0.0, width=1.0).conditioned(problem()).weights
    torch.testing.assert_close(found, exact(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("std", [0.1, 0.7, 3.0])
def test_a_narrow_kernel_leaves_one_pair_whatever_the_noise(std):
    found = PairedKernel(width=1e-4).conditioned(problem(std)).weights
    assert float(found.max()) > 1 - 1e-9


def test_noisy_pairs_count_the_noise_twice():
    """Averaged over the noise of many copies, eta = gamma has the variance gamma^2 + eta^2."""
    found = PairedKernel(width=1.0, copies=20000).conditioned(problem()).weights
    twice = exact(math.sqrt(2) * GAMMA)
    assert float((found - twice).abs().max()) < 0.005
    assert float((found - exact()).abs().max()) > 0.02


def test_many_copies_and_a_narrow_kernel_give_the_likelihood_back():
    """10^4 copies, eta = gamma/10: means of K over copies, within 3 standard errors."""
    copies, width = 10_000, 0.1
    found = PairedKernel(width=width, copies=copies).conditioned(problem()).weights
    residual = ((problem().y - X @ torch.tensor([1.0, 0.5, -0.4]).double()) / GAMMA)[:, None]
    e = torch.stack([Streams(9, "noise").at(k).normal((2000,)) for k in range(6)])
    kernels = torch.exp(-((residual - e) ** 2) / (2 * width**2))
    relative = kernels.std(1) / kernels.mean(1) / math.sqrt(copies)
    error = exact() * (relative + (exact() * relative).norm())
    law = exact(GAMMA * math.sqrt(1 + width**2))
    assert bool(((found - law).abs() < 3 * error).all())
    assert bool(((found - exact()).abs() < 3 * error + 0.01).all())
