"""Inverse problems whose posteriors are known by quadrature or in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM


def line(bandwidth: float) -> InverseProblem:
    """Figure 1 (a-c): F(x) = x + 0.3 x^3, y = 0."""
    data = torch.tensor([[-1.5], [-0.4], [0.4], [1.2], [2.5]], dtype=torch.float64)
    prior = EmpiricalGMM(bandwidth=bandwidth).fit(data)
    operator = Polynomial(coefficients=[0, 1, 0, 0.3])
    return InverseProblem(prior, operator, GaussianNoise(0.3), data.new_zeros(1))


def plane(bandwidth: float) -> InverseProblem:
    """Figure 1 (d-f): a regular pentagon, a quadratic map, data of a point inside it."""
    angle = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    data = 2 * torch.stack([angle.cos(), angle.sin()], -1)
    prior, operator = EmpiricalGMM(bandwidth=bandwidth).fit(data), Quadratic2D()
    return InverseProblem(prior, operator, GaussianNoise(0.3), operator(0.7 * data[:1])[0])


PROBLEMS = {"line": line, "plane": plane}
BANDWIDTHS = (0.5, 0.3, 0.05)


def linear_problem(
    d: int = 3, atoms: int = 4, bandwidth: float = 0.5, stiffness: float = 10.0, seed: int = 0
) -> InverseProblem:
    """Kernels seen by a matrix with singular values from ``stiffness`` to 1, the truth among them.

    The linearised mixture is its posterior.
    """
    stream = Streams(seed, "training").at()
    prior = EmpiricalGMM(bandwidth=bandwidth).fit(stream.normal((atoms, d)))
    basis = torch.linalg.qr(stream.normal((d, d))).Q
    matrix = torch.logspace(math.log10(stiffness), 0, d, dtype=torch.float64)[:, None] * basis
    truth = prior.means[0] + bandwidth * stream.normal((d,))
    y = matrix @ truth + stream.normal((d,))
    return InverseProblem(prior, Linear(matrix=matrix.tolist()), GaussianNoise(1.0), y)


def z_scores(replicates: Tensor, expected: Tensor, smallest: Tensor | float = 0.0) -> Tensor:
    """(mean over rows - expected) / standard error, which is ``smallest`` at least."""
    error = replicates.std(0) / math.sqrt(len(replicates))
    smallest = torch.as_tensor(smallest, dtype=error.dtype).clamp(min=1e-12)
    return (replicates.mean(0) - expected) / torch.maximum(error, smallest)
