"""The inertia step on a circle: one full denoising step at noise sigma leaves no copies."""

from __future__ import annotations

import math

import pytest
import torch
from flows import run

from mempost.core.level import NoiseLevel
from mempost.core.streams import Streams
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM

N, SIGMA = 1000, 0.251
"""Points on the unit circle, and sigma = n^(-1/(d + 4)) with d = 1."""
ANGLES = 2 * math.pi * torch.arange(N, dtype=torch.float64) / N
CIRCLE = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
PRIOR = EmpiricalGMM(bandwidth=0.0).fit(CIRCLE)


def radius_error(x):
    return float((x.norm(dim=1) - 1).abs().mean())


def copies(x):
    return float((torch.cdist(x, CIRCLE).min(1).values < 1e-2).double().mean())


def test_the_flow_that_ends_with_a_denoising_step():
    """Stopped at sigma the flow is off the circle; the full step projects on it."""
    solver = {"type": "dormand_prince", "tolerance": 1e-3}
    z = run(PRIOR, 2000, "noise", 20.0, SIGMA, solver).flat
    end = PRIOR.denoise(z, NoiseLevel(1.0, SIGMA))
    assert radius_error(end) == pytest.approx(0.033, abs=0.003)
    assert copies(end) == 0
    assert float(end.norm(dim=1).median()) == pytest.approx(0.969, abs=0.003)
    assert radius_error(z) > 0.15


def test_half_a_step_is_no_projection():
    """dX = -X dt + sqrt 2 dW has the variance 1 - e^(-2 sigma^2), twice the step's coefficient."""
    a = math.exp(-(SIGMA**2))
    level = NoiseLevel(a, math.sqrt(1 - a**2))
    x = PRIOR.sample(20000, Streams(0, "sampling"))
    z = level.perturb(x, Streams(0, "noise").at())
    half = (z + SIGMA**2 * PRIOR.score(z, level)) / a
    full = PRIOR.denoise(z, level)
    assert radius_error(half) == pytest.approx(0.145, abs=0.003)
    assert radius_error(full) == pytest.approx(0.077, abs=0.003)
    assert copies(half) == pytest.approx(0.046, abs=0.005) and copies(full) == 0
