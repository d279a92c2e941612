"""A prior of somebody else that keeps its training examples and is no mixture.

Its denoiser is the mean of the k examples nearest to z/a, weighted by their distances: what the
memorized prior is for k = N. It is served by what needs examples and nothing else.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor

import mempost
from mempost import FittedPrior, Prior
from mempost.core.capabilities import (
    Examples,
    HasComponents,
    HasDensity,
    HasExamples,
    HasNoisedDensity,
    ask,
    require,
)
from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.prior import State
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import TILE, Stream, Streams
from mempost.methods.geometry.masses import centres, responsibilities
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.learned_score import LearnedScore
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample import FiniteSample
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights
from mempost.plugins.samplers.quadrature import Quadrature
from mempost.testing import check_prior


class Remembered(FittedPrior):
    """Examples, and the mean of the k nearest ones."""

    def __init__(self, x: Tensor, k: int, shape: tuple[int, ...]) -> None:
        super().__init__(shape, x)
        self.x, self.k = x, k

    @property
    def examples(self) -> Examples:
        return Examples.of(self.x)

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        squares = (z[:, None] - a[..., None] * self.x).square().sum(-1)
        near = squares.topk(self.k, largest=False)
        weights = torch.softmax(-near.values / (2 * s**2), -1)
        return torch.einsum("bk,bkd->bd", weights, self.x[near.indices])

    def _draw(self, stream: Stream) -> Tensor:
        return self.x[stream.integers(len(self.x), (TILE,)).to(self.device)]

    def _state(self) -> State:
        return State({"x": self.x}, {"k": self.k})

    @classmethod
    def _from_state(cls, state: State) -> Remembered:
        return cls(state.tensors["x"], state.values["k"], state.values["shape"])


class Nearest(Prior):
    """The mean of the nearest training examples."""

    tags = frozenset({"closed_form"})
    fitted_class: ClassVar = Remembered
    k: int = Field(4, ge=1, description="nearest examples in a mean")

    def _fit(self, x: Tensor | None, shape: tuple[int, ...], *_: object) -> Remembered:
        assert x is not None
        return Remembered(x, min(self.k, len(x)), shape)


N, DRAWS, STD, Y = 14, 1024, 0.4, [0.3, -0.2]
MATRIX = [[1.0, 0.4], [0.2, -0.7]]
METRICS = [
    {"type": "component_mass", "limit": N},
    {"type": "effective_modes"},
    {"type": "mode_mass_error", "reference": "weights"},
    {"type": "nearest_neighbour", "k": 5},
    {"type": "collapse"},
    {"type": "posterior_support"},
    {"type": "total_variation", "reference": "weights"},
]


class Study:
    """The study from Python, and what its numbers should be, from the stored examples alone."""

    def __init__(self, out: object) -> None:
        examples = np.random.default_rng(0).normal(size=(N, 2))
        self.study = mempost.run(
            {
                "title": "A prior of somebody else",
                "data": {"type": "points", "values": examples},
                "prior": Nearest(k=3),
                "operator": {"type": "linear", "matrix": MATRIX},
                "noise": {"std": STD},
                "observation": {"values": Y},
                "samplers": {
                    "weights": {"type": "finite_sample_weights"},
                    "reverse": {"type": "finite_sample", "steps": 30},
                },
                "samples": DRAWS,
                "metrics": METRICS,
            },
            out=out,
        )
        self.examples = examples
        residual = np.array(Y) - examples @ np.array(MATRIX).T
        likelihood = np.exp(-0.5 * (residual**2).sum(1) / STD**2)
        self.weights = likelihood / likelihood.sum()

    @cached_property
    def rows(self) -> dict[str, dict[str, float]]:
        assert self.study.ok, [*self.study.errors, *(row["reason"] for row in self.study.rows)]
        return {row["sampler"]: row for row in self.study.rows}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    registry = REGISTRIES["prior"]
    registry.register("nearest_examples", Nearest)
    yield Study(tmp_path_factory.mktemp("outside"))
    registry._local.pop("nearest_examples")


def test_its_weights_are_those_of_its_examples(study: Study) -> None:
    row = study.rows["weights"]
    masses = np.array([row[f"mass_{i}"] for i in range(N)])
    np.testing.assert_allclose(masses, study.weights, rtol=1e-10, atol=1e-300)
    entropy = -(study.weights * np.log(study.weights)).sum()
    assert row["effective_modes"] == pytest.approx(math.exp(entropy), rel=1e-10)
    assert row["effective_number"] == row["effective_modes"]
    assert row["best_mass"] == pytest.approx(study.weights.max(), rel=1e-10)
    held = np.sort(study.weights)[::-1].cumsum()
    assert row["support_size"] == np.searchsorted(held, 0.999) + 1
    assert row["nn_rate"] == 1.0 and row["atom_distance"] == pytest.approx(0.0, abs=1e-12)


def test_reverse_diffusion_over_its_examples_finds_the_same_masses(study: Study) -> None:
    row = study.rows["reverse"]
    masses = np.array([row[f"mass_{i}"] for i in range(N)])
    assert masses.sum() == pytest.approx(1)
    errors = np.sqrt(study.weights * (1 - study.weights) / DRAWS)
    assert (np.abs(masses - study.weights) < 5 * errors + 0.01).all()
    misplaced = 0.5 * np.abs(masses - study.weights).sum()
    assert row["mode_mass_error"] == pytest.approx(misplaced, abs=1e-10)
    assert row["mode_mass_error"] < 0.06 and row["nn_rate"] > 0.99
    assert row["effective_number"] == pytest.approx(row["effective_modes"])
    assert 0 <= row["atom_distance"] < 0.05


def test_what_needs_more_than_examples_gives_no_column(study: Study) -> None:
    columns = {name for name, value in study.rows["reverse"].items() if value is not None}
    assert not columns & {"separation_bandwidth", "tv_to_weights", "support_size"}


def problem_with(prior: FittedPrior) -> InverseProblem:
    y = torch.tensor(Y, dtype=torch.float64)
    return InverseProblem(prior, Linear(matrix=MATRIX), GaussianNoise(STD), y)


def test_it_is_asked_and_says_what_it_lacks() -> None:
    fitted = Nearest().fit(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double())
    assert ask(fitted, HasExamples) is fitted
    for capability in (HasComponents, HasDensity, HasNoisedDensity):
        assert ask(fitted, capability) is None
    with pytest.raises(PluginError, match=r"Remembered has none \(only its denoiser is known\); x"):
        require(fitted, HasDensity, "somebody", "x")
    with pytest.raises(PluginError, match="linearised mixture needs components of a Gaussian mix"):
        ExactLGM().check(problem_with(fitted))
    with pytest.raises(PluginError, match="quadrature needs a log density, and Remembered has non"):
        Quadrature().check(problem_with(fitted))


def test_its_masses_are_those_of_the_nearest_example() -> None:
    fitted = Remembered(torch.tensor([[0.0], [1.0], [5.0]]).double(), 2, (1,))
    found = responsibilities(fitted, torch.tensor([[0.4], [0.6], [9.0]]).double())
    assert torch.equal(found, torch.eye(3).double())
    assert torch.equal(centres(fitted), fitted.x)


def test_a_prior_without_examples_is_refused_by_name() -> None:
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)).double()
    gaussian = Gaussian().fit(x)
    assert ask(gaussian, HasExamples) is None
    with pytest.raises(PluginError, match=r"finite_sample needs training examples.*atoms: N"):
        FiniteSample().check(problem_with(gaussian))
    FiniteSample(atoms=8).check(problem_with(gaussian))
    learned = LearnedScore(steps=2).fit(x, streams=Streams(0, "training"))
    with pytest.raises(PluginError, match="finite_sample_weights needs training examples"):
        FiniteSampleWeights().check(problem_with(learned))


def test_it_passes_the_checks_of_priors() -> None:
    check_prior(Nearest())
