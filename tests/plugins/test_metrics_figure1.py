"""Metrics on the stylized problems of Siahkoohi & Sabeddu 2026, against independent numbers."""

from __future__ import annotations

import pytest
import torch

from mempost.core.dataset import Data
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import ForwardOperator
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.sampler import PosteriorSampler, Samples
from mempost.plugins.datasets.equispaced import Equispaced
from mempost.plugins.metrics.component_mass import ComponentMass
from mempost.plugins.metrics.effective_modes import EffectiveModes
from mempost.plugins.metrics.moments import Moments
from mempost.plugins.metrics.total_variation import TotalVariation
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.quadrature import Quadrature

LINE = torch.tensor([[-1.5], [-0.4], [0.4], [1.2], [2.5]], dtype=torch.float64)
ANGLES = torch.arange(5, dtype=torch.float64) * (2 * torch.pi / 5)
PENTAGON = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
CUBIC = Polynomial(coefficients=[0, 1, 0, 0.3])  # type: ignore[arg-type]
SAMPLERS = {"exact": Quadrature(), "lgm": ExactLGM(), "bare": ExactLGM(log_determinant=False)}


def study(
    x: torch.Tensor, bandwidth: float, operator: ForwardOperator, y: list[float]
) -> dict[str, Result]:
    prior = EmpiricalGMM(bandwidth=bandwidth).fit(x)
    data = torch.tensor(y, dtype=torch.float64)
    problem = InverseProblem(prior, operator, GaussianNoise(0.3), data)
    results: dict[str, Result] = {}

    def nothing() -> Samples:
        raise AssertionError("closed-form answers need no draws")

    def result(key: str, sampler: PosteriorSampler) -> Result:
        held_out = Data(x, x[:0])
        return Result(key, {}, sampler, problem, held_out, None, 0, nothing, results)

    results.update({key: result(key, sampler) for key, sampler in SAMPLERS.items()})
    return results


@pytest.mark.parametrize(
    ("h", "mean", "std", "masses", "tv", "tv_bare"),
    [
        (0.5, 0.0110, 0.2646, (0.0178, 0.4595, 0.4595, 0.0631, 0.0), 0.119, 0.236),
        (0.3, 0.0040, 0.2742, (0.0006, 0.4953, 0.4953, 0.0087, 0.0), 0.0375, 0.0643),
        (0.05, 0.0000, 0.3902, (0.0, 0.5, 0.5, 0.0, 0.0), 0.0018, 0.0018),
    ],
)
def test_one_dimension(
    h: float, mean: float, std: float, masses: tuple[float, ...], tv: float, tv_bare: float
) -> None:
    results = study(LINE, h, CUBIC, [0.0])
    moments = Moments().evaluate(results["exact"]).columns
    assert moments == pytest.approx({"mean_0": mean, "std_0": std}, abs=6e-5)
    found = ComponentMass().evaluate(results["exact"]).columns
    assert list(found.values()) == pytest.approx(masses, abs=6e-5)
    for key, expected in (("exact", 0.0), ("lgm", tv), ("bare", tv_bare)):
        distance = TotalVariation().evaluate(results[key]).columns["tv_to_exact"]
        assert distance == pytest.approx(expected, abs=6e-4)


def test_linearised_weights_are_masses() -> None:
    results = study(LINE, 0.5, CUBIC, [0.0])
    expected = {
        "lgm": (0.0572, 0.4174, 0.4174, 0.0983, 0.0097),
        "bare": (0.1137, 0.3473, 0.3473, 0.1502, 0.0415),
    }
    for key, masses in expected.items():
        found = ComponentMass().evaluate(results[key]).columns
        assert list(found.values()) == pytest.approx(masses, abs=6e-5)


@pytest.mark.parametrize(
    ("h", "mean", "tv", "tv_bare"),
    [(0.5, (1.666, -0.1991), 0.0679, 0.0699), (0.3, (1.7397, -0.1787), 0.0285, 0.0285)],
)
def test_two_dimensions(h: float, mean: tuple[float, float], tv: float, tv_bare: float) -> None:
    results = study(PENTAGON, h, Quadratic2D(), [1.4, 0.392])
    moments = Moments().evaluate(results["exact"]).columns
    assert (moments["mean_0"], moments["mean_1"]) == pytest.approx(mean, abs=6e-5)
    for key, expected in (("lgm", tv), ("bare", tv_bare)):
        distance = TotalVariation().evaluate(results[key]).columns["tv_to_exact"]
        assert distance == pytest.approx(expected, abs=3e-4)


@pytest.mark.parametrize(
    ("n", "modes"),
    [
        (3, (1.000, 1.000, 1.000, 2.989)),
        (5, (1.000, 1.000, 1.011, 4.986)),
        (10, (2.003, 2.006, 2.511, 9.980)),
        (20, (3.493, 3.554, 5.329, 19.966)),
        (100, (18.27, 18.58, 27.45, 99.86)),
    ],
)
def test_effective_modes(n: int, modes: tuple[float, ...]) -> None:
    x = Equispaced(low=-3.0, high=3.0, pool=100, n=n).load(None).train  # type: ignore[arg-type]
    found = [
        EffectiveModes().evaluate(study(x, h, CUBIC, [0.0])["exact"]).columns["effective_modes"]
        for h in (0.01, 0.05, 0.3, 5.0)
    ]
    assert found == pytest.approx(modes, rel=6e-4)
