"""The one-dimensional problems of the lens, with a linear and a cubic map, and laws of x_t."""

from __future__ import annotations

import torch
from torch import Tensor

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Stream, Streams
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture

TIMES = (0.6, 0.4, 0.3, 0.2, 0.1, 0.05)
ATOMS = torch.tensor([[-1.8], [0.2], [2.2]], dtype=torch.float64)
CUBIC = Polynomial(coefficients=[0, 1, 0, 0.3])
MIXTURE = GaussianMixture(weights=[0.4, 0.6], means=[[-1.0], [1.5]], covariances=[0.16, 0.36])


def _problem(prior, operator, std: float, y: float) -> InverseProblem:
    return InverseProblem(
        prior, operator, GaussianNoise(std), torch.tensor([y], dtype=torch.float64)
    )


def three_atoms(y: float = -1.0, operator=None) -> InverseProblem:
    prior = EmpiricalGMM(bandwidth=0.0).fit(ATOMS)
    return _problem(prior, operator or Identity(), 0.3, y)


def gaussian(operator=None) -> InverseProblem:
    prior = Gaussian(mean=[0.5], covariance=0.6).fit()
    return _problem(prior, operator or Linear(matrix=[[1.2]], offset=[-0.1]), 0.25, 0.8)


def mixture(operator=None) -> InverseProblem:
    return _problem(MIXTURE.fit(), operator or Identity(), 0.3, 0.5)


PROBLEMS = {
    "three atoms, linear": lambda: three_atoms(),
    "three atoms, cubic": lambda: three_atoms(-1.0, CUBIC),
    "gaussian, linear": lambda: gaussian(),
    "gaussian, cubic": lambda: gaussian(CUBIC),
    "mixture, linear": lambda: mixture(),
    "mixture, cubic": lambda: mixture(CUBIC),
}


def atoms_of(problem: InverseProblem, count: int) -> Tensor:
    """The atoms that finite_sample takes: the examples, or draws with its seed."""
    if len(problem.prior.means) == 3:
        return problem.prior.means
    return problem.prior.sample(count, Streams(0, "training"))


def weights_of(problem: InverseProblem, atoms: Tensor) -> Tensor:
    """q_i, written out from the definition of the likelihood."""
    misfit = (problem.y - problem.operator(atoms)).square().sum(-1)
    return torch.softmax(-misfit / (2 * problem.noise.std**2), 0)


def central_moments(atoms: Tensor, q: Tensor, level: NoiseLevel) -> tuple[float, float, float]:
    """Mean, variance and fourth central moment of sum_i q_i N(a x_i, s^2) on the line."""
    c, s2 = level.a * atoms[:, 0], level.s**2
    mean = q @ c
    d2 = (c - mean).square()
    return float(mean), float(q @ d2 + s2), float(q @ d2**2 + 6 * s2 * (q @ d2) + 3 * s2**2)


class ConstantStream(Stream):
    """Every normal number is ``value``."""

    def __init__(self, value: float) -> None:
        super().__init__(Streams(0, "sampling").at().generator)
        self.value = value

    def normal(self, shape, dtype=torch.float64, device="cpu"):
        return torch.full(shape, self.value, dtype=dtype, device=device)
