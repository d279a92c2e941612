"""Exact posteriors of a mixture prior under a linear map, for a thousand truths at once."""

from __future__ import annotations

import torch
from torch import Tensor

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.core.streams import Stream, Streams
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM

MEANS = torch.tensor(
    [[-1.2, 0.3], [-0.4, -0.9], [0.5, 0.8], [1.1, -0.2], [0.1, 0.1], [0.7, -1.0]],
    dtype=torch.float64,
)
MATRIX = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
NOISE = 0.6
PRIORS = {"atoms": (MEANS, 0.0), "mixture": (MEANS, 0.4), "gaussian": (MEANS[:1], 1.0)}


def simulated(kind: str, truths: int, stream: Stream) -> tuple[Tensor, Tensor]:
    """Truths (t, d) from a prior, and data (t, m) of each."""
    means, h = PRIORS[kind]
    n, d = means.shape
    x = means[stream.integers(n, (truths,))] + h * stream.normal((truths, d))
    return x, x @ MATRIX.T + NOISE * stream.normal((truths, len(MATRIX)))


def drawn(kind: str, truths: int, draws: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Truths (t, d) from a prior, and exact draws (t, draws, d) from the posterior of each."""
    means, h = PRIORS[kind]
    stream = Streams(seed, "truth").at()
    (n, d), m, a = means.shape, len(MATRIX), MATRIX
    x, y = simulated(kind, truths, stream)
    r = y[:, None] - means @ a.T
    c = h**2 * a @ a.T + NOISE**2 * torch.eye(m, dtype=torch.float64)
    gain = h**2 * a.T @ torch.linalg.inv(c)
    weights = torch.softmax(-0.5 * torch.einsum("tni,ij,tnj->tn", r, torch.linalg.inv(c), r), 1)
    u = stream.uniform((truths, draws))
    which = (u[..., None] > weights.cumsum(1)[:, None]).sum(-1).clamp(max=n - 1)
    centres = means + r @ gain.T
    values = centres.gather(1, which[..., None].expand(-1, -1, d))
    if h:
        covariance = h**2 * (torch.eye(d, dtype=torch.float64) - gain @ a)
        values = values + stream.normal((truths, draws, d)) @ torch.linalg.cholesky(covariance).T
    else:
        values = means[which]
    return x, values


def distorted(values: Tensor, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """Draws (t, draws, d) scaled about their mean and shifted by standard deviations."""
    mean, std = values.mean(1, keepdim=True), values.std(1, keepdim=True)
    return mean + scale * (values - mean) + shift * std


def problem(prior: FittedPrior | None = None) -> InverseProblem:
    prior = prior or EmpiricalGMM(bandwidth=0.4).fit(MEANS)
    return InverseProblem(
        prior, Linear(matrix=MATRIX), GaussianNoise(NOISE), torch.zeros(1, dtype=torch.float64)
    )


def result_of(
    truths: Tensor | None,
    values: Tensor,
    seed: int = 0,
    key: str = "toy",
    data: Tensor | None = None,
) -> Result:
    """A result that holds these draws; its prior counts for its coordinates only."""
    d = values.shape[-1]
    prior = EmpiricalGMM(bandwidth=0.4).fit(torch.zeros(1, d, dtype=torch.float64))
    matrix = MATRIX if d == 2 else torch.ones(1, d, dtype=torch.float64)
    y = torch.zeros(1, dtype=torch.float64)
    return Result(
        key=key,
        point={},
        sampler=ExactLGM(),
        problem=InverseProblem(prior, Linear(matrix=matrix), GaussianNoise(NOISE), y),
        data=None,
        truth=None,
        seed=seed,
        load_samples=lambda: Samples(values, truths=truths, data=data),
    )


class Fixed(Stream):
    """Gives the same uniform number always."""

    def __init__(self, value: float) -> None:
        self.value = value

    def uniform(self, shape: tuple[int, ...], *_: object, **__: object) -> Tensor:  # type: ignore[override]
        return torch.full(shape, self.value, dtype=torch.float64)
