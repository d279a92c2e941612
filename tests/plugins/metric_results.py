"""Small results with known answers, to measure and to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mempost.core.capabilities import Examples
from mempost.core.dataset import Data
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.measured import Measured
from mempost.core.mixture import MixturePrior
from mempost.core.operator import ForwardOperator
from mempost.core.posterior import Posterior
from mempost.core.prior import State
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import PosteriorSampler, Samples
from mempost.core.streams import TILE, Stream, Streams


class Kernels(MixturePrior):
    """Equal isotropic kernels, written out in the plainest way."""

    def __init__(
        self, means: Tensor, bandwidth: float, shape: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(shape or tuple(means.shape[1:]), means)
        self.means, self.bandwidth = means, bandwidth
        self.weights = means.new_full((len(means),), 1 / len(means))

    @property
    def examples(self) -> Examples:
        return Examples.of(self.means)

    def component_log_densities(self, z: Tensor, level: NoiseLevel = CLEAN) -> Tensor:
        a, s = level.columns(z)
        normal = torch.distributions.Normal(
            a * self.means, (a**2 * self.bandwidth**2 + s**2) ** 0.5
        )
        return normal.log_prob(z[:, None]).sum(-1) + self.weights.log()

    def _log_density(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return self.component_log_densities(z, NoiseLevel(a, s)).logsumexp(-1)

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        raise NotImplementedError

    def _draw(self, stream: Stream) -> Tensor:
        atoms = self.means[stream.categorical(self.weights, TILE)]
        return atoms + self.bandwidth * stream.normal(tuple(atoms.shape), atoms.dtype)

    def factor_product(self, index: Tensor, v: Tensor, transpose: bool = False) -> Tensor:
        return self.bandwidth * v

    def factor_solve(self, index: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _state(self) -> State:
        raise NotImplementedError

    @classmethod
    def _from_state(cls, state: State) -> Kernels:
        raise NotImplementedError


class Cubic(ForwardOperator):
    """x + 0.3 x^3, elementwise: the map of Figure 1 (a-c)."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.3 * x**3


class Same(ForwardOperator):
    """F(x) = x."""

    tags = frozenset({"linear"})

    def forward(self, x: Tensor) -> Tensor:
        return x


class Normal(Posterior):
    """N(mean, diag(std^2)); integrates on a grid in one dimension."""

    def __init__(self, mean: Any, std: Any, cut: tuple[float, float] | None = None) -> None:
        self.location = torch.as_tensor(mean, dtype=torch.float64)
        self.spread = torch.as_tensor(std, dtype=torch.float64)
        self.cut = cut

    def mean(self) -> Tensor:
        return self.location

    def covariance(self) -> Tensor:
        return torch.diag(self.spread**2)

    def log_density(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(self.location, self.spread).log_prob(x).sum(-1)

    def expectation(self, f: Callable[[Tensor], Tensor]) -> Tensor:
        assert len(self.location) == 1
        low, high = self.cut or (-12.0, 12.0)
        x = torch.linspace(low, high, 24001, dtype=torch.float64)[:, None]
        p = self.log_density(x).exp()
        return (p / p.sum()) @ f(x)

    def _draw(self, stream: Stream) -> Tensor:
        return self.location + self.spread * stream.normal((TILE, len(self.location)))


class NormalMixture(Posterior):
    """sum_n w_n N(m_n, s_n^2 I) with means (n, d)."""

    def __init__(self, weights: Any, means: Any, std: Any) -> None:
        self._weights = torch.as_tensor(weights, dtype=torch.float64)
        self.means = torch.as_tensor(means, dtype=torch.float64)
        self.spread = torch.as_tensor(std, dtype=torch.float64).expand(len(self.means))

    @property
    def weights(self) -> Tensor:
        return self._weights

    def mean(self) -> Tensor:
        return self.weights @ self.means

    def covariance(self) -> Tensor:
        centred = self.means - self.mean()
        within = (self.weights @ self.spread**2) * torch.eye(self.means.shape[1]).double()
        return torch.einsum("n,ni,nj->ij", self.weights, centred, centred) + within

    def log_density(self, x: Tensor) -> Tensor:
        parts = torch.distributions.Normal(self.means, self.spread[:, None]).log_prob(x[:, None])
        return (parts.sum(-1) + self.weights.log()).logsumexp(-1)

    def _draw(self, stream: Stream) -> Tensor:
        n = stream.categorical(self.weights, TILE)
        e = stream.normal((TILE, self.means.shape[1]))
        return self.means[n] + self.spread[n, None] * e


class Given(PosteriorSampler):
    """A sampler that answers what it was told to."""

    model_config = {**PosteriorSampler.model_config, "arbitrary_types_allowed": True}
    answer: Any = None

    def posterior(self, problem: InverseProblem) -> Posterior | None:
        return self.answer

    def sample(self, *_: Any) -> Samples:
        raise NotImplementedError


def problem_of(
    points: Any,
    *,
    bandwidth: float = 0.5,
    operator: ForwardOperator | None = None,
    y: Any = None,
    std: float = 0.3,
    shape: tuple[int, ...] | None = None,
) -> InverseProblem:
    """A memorized prior of the points, seen through an operator."""
    means = torch.as_tensor(points, dtype=torch.float64)
    prior = Kernels(means, bandwidth, shape)
    operator = operator or Same()
    y = torch.zeros(operator.range_shape(prior.shape)) if y is None else y
    data = torch.as_tensor(y, dtype=torch.float64)
    return InverseProblem(prior, operator, GaussianNoise(std), data)


def results_of(
    problem: InverseProblem,
    answers: Mapping[str, Posterior | Tensor | Samples],
    *,
    point: Mapping[str, Any] | None = None,
    held_out: Tensor | None = None,
    truth: Tensor | None = None,
    n: int = 500,
    seed: int = 0,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Result]:
    """One result a sampler: posteriors draw ``n`` samples, tensors (n, d) are samples."""
    shape = problem.prior.shape
    train = problem.prior.means.reshape(-1, *shape)  # type: ignore[attr-defined]
    held_out = train[:0] if held_out is None else held_out.reshape(-1, *shape)
    results: dict[str, Result] = {}
    for key, answer in answers.items():
        if isinstance(answer, Posterior):
            drawn = Samples.independent(answer.sample(n, Streams(seed, "sampling")))
        else:
            drawn = answer if isinstance(answer, Samples) else Samples.independent(answer)
        results[key] = Result(
            key=key,
            point=dict(point or {}),
            sampler=Given(answer=answer if isinstance(answer, Posterior) else None),
            problem=problem,
            data=Data(train, held_out),
            truth=truth,
            seed=seed,
            load_samples=lambda drawn=drawn: drawn,
            siblings=results,
            load_measured=lambda key=key: Measured((measured or {}).get(key, {})),
        )
    return results
