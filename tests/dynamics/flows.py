"""Flows of closed-form priors: their ends, and how many lie on an example."""

from __future__ import annotations

import numpy as np
import torch

from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.schedules.ve import VarianceExploding

SEED = Streams(3, "sampling")
TALK = 4.6365
"""sigma(1) of the talk's code."""


def talk_points(n: int = 20, d: int = 2) -> torch.Tensor:
    """The points of E2.1 in the plane, and the same generator in other dimensions."""
    return torch.from_numpy(np.random.RandomState(1).randn(n, d))


def run(prior, n, start="noise", sigma_max=TALK, sigma_min=1e-6, solver="dormand_prince", **more):
    """Samples of the flow of a fitted prior."""
    schedule = VarianceExploding(sigma_min=sigma_min, sigma_max=sigma_max)
    sampler = ReverseDiffusion(
        schedule=schedule,
        t_min=0.0,
        start=start,
        final="stop",
        solver=solver,
        tile=-(-n // 32) * 32,
        **more,
    )
    return sampler.sample(InverseProblem(prior), n, SEED)


def on_example(prior, x, tolerance):
    """How many rows of x lie within the tolerance of an example."""
    return int((torch.cdist(x, prior.examples.x).min(1).values < tolerance).sum())


def standard_errors(found, n, p):
    """How far a count is from its law, in standard errors."""
    return (found - n * p) / np.sqrt(n * p * (1 - p))
