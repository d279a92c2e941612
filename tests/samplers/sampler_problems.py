"""Problems with known answers, controlled noise, wide runs: for tests of iterative samplers."""

from __future__ import annotations

import torch
from torch import Tensor

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.iterative import IterativeSampler, SamplerState
from mempost.core.problem import InverseProblem
from mempost.core.streams import Stream, Streams
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture

MEAN = torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[1.0, 0.3, 0.1], [0.3, 0.5, -0.1], [0.1, -0.1, 0.8]], dtype=torch.float64
)
MATRIX = torch.tensor([[1.0, 0.5, 0.0], [0.0, -0.4, 1.2]], dtype=torch.float64)
DATA = torch.tensor([1.2, -0.6], dtype=torch.float64)


def gaussian_problem(std: float = 0.4, dtype: torch.dtype = torch.float64) -> InverseProblem:
    """Three unknowns with a Gaussian prior, two linear data."""
    prior = Gaussian(mean=MEAN, covariance=COVARIANCE).fit().to(dtype=dtype)
    return InverseProblem(prior, Linear(matrix=MATRIX), GaussianNoise(std), DATA.to(dtype))


def gaussian_posterior(std: float = 0.4) -> tuple[Tensor, Tensor]:
    """Its mean and covariance."""
    gain = (
        COVARIANCE
        @ MATRIX.T
        @ torch.linalg.inv(
            MATRIX @ COVARIANCE @ MATRIX.T + std**2 * torch.eye(2, dtype=torch.float64)
        )
    )
    return MEAN + gain @ (DATA - MATRIX @ MEAN), COVARIANCE - gain @ MATRIX @ COVARIANCE


def datum(y: float) -> Tensor:
    """A single observation."""
    return torch.tensor([y], dtype=torch.float64)


def scalar_problem(variance: float = 1.0, std: float = 0.5, y: float = 0.8) -> InverseProblem:
    """One unknown, x ~ N(0, variance), y = x + noise."""
    prior = Gaussian(mean=[0.0], covariance=variance).fit()
    return InverseProblem(prior, Identity(), GaussianNoise(std), datum(y))


def mixture_problem(std: float = 0.3) -> InverseProblem:
    """Two unknowns, a prior of two unlike Gaussians, both coordinates observed."""
    prior = GaussianMixture(
        weights=[0.4, 0.6],
        means=[[-1.0, 0.5], [1.5, -0.5]],
        covariances=[[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.2], [-0.2, 0.4]]],
    ).fit()
    y = torch.tensor([0.5, 0.2], dtype=torch.float64)
    return InverseProblem(prior, Identity(), GaussianNoise(std), y)


def atoms_problem(y: float) -> InverseProblem:
    """Three atoms on a line, observed directly with noise 0.3."""
    atoms = torch.tensor([[-1.8], [0.2], [2.2]], dtype=torch.float64)
    prior = EmpiricalGMM(bandwidth=0.0).fit(atoms)
    return InverseProblem(prior, Identity(), GaussianNoise(0.3), datum(y))


class ConstantStream(Stream):
    """Every normal number is ``value``."""

    def __init__(self, value: float) -> None:
        super().__init__(Streams(0, "sampling").at().generator)
        self.value = value

    def normal(self, shape, dtype=torch.float64, device="cpu"):
        return torch.full(shape, self.value, dtype=dtype, device=device)


class RowStream(Stream):
    """Row ``i`` of what a stream gives to ``n`` rows: for the sample i computed by itself."""

    def __init__(self, stream: Stream, i: int, n: int) -> None:
        super().__init__(stream.generator)
        self.i, self.n = i, n

    def normal(self, shape, dtype=torch.float64, device="cpu"):
        return super().normal((self.n, *shape[1:]), dtype, device)[self.i : self.i + 1]

    def uniform(self, shape, dtype=torch.float64, device="cpu"):
        return super().uniform((self.n, *shape[1:]), dtype, device)[self.i : self.i + 1]


def wide_start(sampler: IterativeSampler, problem: InverseProblem, n: int, seed: int = 0):
    """The starts of n samples in one state."""
    streams = Streams(seed, "sampling")
    tiles = [sampler.init(problem, streams.at(k)) for k in range(-(-n // 32))]
    return {name: torch.cat([tile[name] for tile in tiles])[:n] for name in tiles[0]}


def run(
    sampler: IterativeSampler, problem: InverseProblem, state: SamplerState, seed: int = 1
) -> SamplerState:
    """All steps from a state of any number of rows: many samples at little cost."""
    return states(sampler, problem, state, seed)[sampler.n_steps]


def states(
    sampler: IterativeSampler, problem: InverseProblem, state: SamplerState, seed: int = 1
) -> dict[int, SamplerState]:
    """The states on the way that are kept, and the last one, by step."""
    streams, found = Streams(seed, "sampling"), {}
    with torch.no_grad():
        for k in range(1, sampler.n_steps + 1):
            state = sampler.step(problem, state, k, streams.at(0, k))
            if sampler.keeps(k) or k == sampler.n_steps:
                found[k] = state
    return found


def affine_map(
    sampler: IterativeSampler, problem: InverseProblem, k: int, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    """M, b, gain of a step x -> M x + b + gain n, for one with noise proportional to n.

    Only for samplers whose state is its entry ``name`` alone.
    """
    d = problem.dimension
    basis = torch.cat([torch.zeros(1, d), torch.eye(d)]).double()

    def move(noise: float) -> Tensor:
        return sampler.step(problem, {name: basis}, k, ConstantStream(noise))[name]

    still, moved = move(0.0), move(1.0)
    gain = moved - still
    assert torch.allclose(gain, gain[:1].expand_as(gain), atol=1e-12)
    return (still[1:] - still[0]).T, still[0], gain[0]


def order(steps: list[int], errors: list[float]) -> float:
    """Slope of log error against log(1/steps)."""
    x = -torch.tensor(steps).double().log()
    y = torch.tensor(errors).double().log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())
