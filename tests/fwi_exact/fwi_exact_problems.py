"""Small problems of full-waveform inversion, and of other nonlinear maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.keeping import keeping
from mempost.core.operator import ForwardOperator, compose
from mempost.core.prior import State
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.operators.standardise import Standardise
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_fwi(
    bandwidth: float = 0.05, n: int = 6, truth: Tensor | None = None, relative: float = 0.02
) -> InverseProblem:
    """Nine coefficients on a grid of 14 x 14, two sources, eight receivers, complex data."""
    shape, modes = (14, 14), (3, 3)
    raw = 2.0 * random(n, 9, seed=3)
    prior = EmpiricalGMM(bandwidth=bandwidth, standardise=True).fit(raw)
    operator = compose(
        [
            Helmholtz(
                shape=shape,
                spacing=0.06,
                frequencies=(4.0,),
                sources=[[0.1, 0.08], [0.6, 0.08]],
                receivers={"start": [0.08, 0.76], "stop": [0.76, 0.76], "number": 8},
                pml_width=0.3,
            ),
            KLCosine(shape=shape, modes=modes),
            Standardise(from_="prior"),
        ]
    ).resolve(prior)
    x = prior.sample(3, Streams(5, "truth"))[2] if truth is None else truth
    y = operator(x[None])[0]
    noise = GaussianNoise(relative * float(y.abs().max()), complex=True)
    return InverseProblem(prior, operator, noise, noise.perturb(y, Streams(5, "noise").at()))


class Cubic(ForwardOperator):
    """F(x) = B (x + bend x^3), with a closed Jacobian that counts how often it is asked for."""

    m: int
    bend: float = 0.1

    def range_shape(self, domain_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.m,)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bend * x**3) @ self._features(x).T

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        CALLS.append(len(x))
        columns = self._features(x) * (1 + 3 * self.bend * x[:, None] ** 2)
        return self(x), columns if basis is None else columns @ basis

    def _features(self, x: Tensor) -> Tensor:
        return random(self.m, x.shape[1], seed=77).to(x.dtype)


CALLS: list[int] = []
"""Models whose Jacobians `Cubic` computed, call by call."""


def cubic(
    d: int, m: int, n: int = 5, bandwidth: float = 0.4, bend: float = 0.1, noise: float = 0.5
) -> InverseProblem:
    data = random(n, d, seed=1)
    prior = EmpiricalGMM(bandwidth=bandwidth).fit(data)
    operator = Cubic(m=m, bend=bend)
    y = operator(data[:1] + 0.3)[0] + noise * random(m, seed=4)
    return InverseProblem(prior, operator, GaussianNoise(noise), y)


class DictShelf:
    """A shelf in memory that knows what it was asked to do."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.saved: list[str] = []

    def load(self, name: str) -> State | None:
        state = self.states.get(name)
        return (
            None if state is None else State({k: t.clone() for k, t in state.tensors.items()}, {})
        )

    def holds(self, name: str) -> bool:
        return name in self.states

    def save(self, name: str, state: State) -> None:
        self.states[name] = state
        self.saved.append(name)

    def drop(self, name: str) -> None:
        self.states.pop(name, None)

    def mark(self, name: str) -> None:
        pass


@contextmanager
def shelf() -> Iterator[DictShelf]:
    kept = DictShelf()
    with keeping(kept):
        yield kept
