"""Moments, masses, total variation, effective modes, dominance bandwidth and truth error."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_results import Cubic, Kernels, Normal, NormalMixture, problem_of, results_of

from mempost.core.capabilities import HasDensity
from mempost.core.coordinates import Coordinates
from mempost.core.errors import PluginError
from mempost.core.prior import FittedPrior
from mempost.core.streams import Streams
from mempost.methods.geometry.masses import responsibilities
from mempost.plugins.metrics.component_mass import ComponentMass
from mempost.plugins.metrics.dominance_bandwidth import DominanceBandwidth
from mempost.plugins.metrics.effective_modes import EffectiveModes
from mempost.plugins.metrics.moments import Moments
from mempost.plugins.metrics.total_variation import TotalVariation, total_variation
from mempost.plugins.metrics.truth_error import TruthError

FIGURE_1 = [[-1.5], [-0.4], [0.4], [1.2], [2.5]]


def phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def test_moments_of_a_posterior_and_of_draws() -> None:
    problem = problem_of(torch.zeros(1, 3))
    draws = torch.tensor([[0.0, 1, 2], [4.0, 1, 0]]).double()
    answers = {"closed": Normal([1.0, 2, 3], [4.0, 5, 6]), "draws": draws, "one": draws[:1]}
    results = results_of(problem, answers)
    closed = Moments(limit=2).evaluate(results["closed"]).columns
    assert closed == {"mean_0": 1, "mean_1": 2, "std_0": 4, "std_1": 5}
    sampled = Moments().evaluate(results["draws"]).columns
    assert [sampled[f"mean_{i}"] for i in range(3)] == [2, 1, 1]
    assert [sampled[f"std_{i}"] for i in range(3)] == pytest.approx([8**0.5, 0, 2**0.5])
    assert set(Moments().evaluate(results["one"]).columns) == {"mean_0", "mean_1", "mean_2"}


def test_moments_in_raw_coordinates() -> None:
    problem = problem_of([[0.0]])
    problem.prior.coordinates = Coordinates(torch.tensor([10.0]), torch.tensor([2.0]))
    answers = {"closed": Normal([1.0], [3.0]), "draws": torch.tensor([[0.0], [2.0]])}
    results = results_of(problem, answers)
    assert Moments().evaluate(results["closed"]).columns == {"mean_0": 12, "std_0": 6}
    assert Moments(coordinates="prior").evaluate(results["closed"]).columns == {
        "prior_mean_0": 1,
        "prior_std_0": 3,
    }
    assert Moments(limit=0).evaluate(results["closed"]).columns == {}
    sampled = Moments().evaluate(results["draws"]).columns
    assert sampled == pytest.approx({"mean_0": 12, "std_0": 2 * 2**0.5})


def test_masses_by_weights_by_quadrature_and_by_draws() -> None:
    """The posterior of two kernels under a Gaussian likelihood is a mixture again."""
    h, std, y = 0.5, 0.7, 0.4
    problem = problem_of([[-1.0], [1.0]], bandwidth=h, std=std, y=[y])
    v = h**2 + std**2
    log_w = -((y - torch.tensor([-1.0, 1.0]).double()) ** 2) / (2 * v)
    weights = torch.softmax(log_w, 0)
    means = torch.tensor([[-1.0], [1.0]]).double()
    exact = NormalMixture(weights, means + h**2 / v * (y - means), h * std / math.sqrt(v))

    class Integrated(Normal):
        """The same posterior, known by its density alone."""

        def log_density(self, x: torch.Tensor) -> torch.Tensor:
            return exact.log_density(x)

    draws = exact.sample(20_000, Streams(0, "sampling"))
    answers = {"weights": exact, "grid": Integrated([0.0], [1.0], cut=(-4.0, 4.0)), "draws": draws}
    results = results_of(problem, answers)
    found = {key: ComponentMass().evaluate(result).columns for key, result in results.items()}
    expected = {"mass_0": float(weights[0]), "mass_1": float(weights[1])}
    assert found["weights"] == pytest.approx(expected, abs=1e-15)
    assert found["grid"] == pytest.approx(expected, abs=1e-10)
    assert found["draws"] == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(20_000))


def test_masses_stop_at_the_limit_and_need_a_mixture() -> None:
    problem = problem_of(torch.arange(20.0)[:, None])
    result = results_of(problem, {"a": torch.zeros(3, 1).double()})["a"]
    assert list(ComponentMass(limit=3).evaluate(result).columns) == ["mass_0", "mass_1", "mass_2"]

    class Plain(FittedPrior):
        _denoise = _draw = _state = _from_state = Kernels._denoise

    result.problem = problem.__class__(
        Plain((1,), torch.zeros(1).double()), problem.operator, problem.noise, problem.y
    )
    assert ComponentMass().evaluate(result).columns == {}
    assert EffectiveModes().evaluate(result).columns == {}


def test_atoms_take_the_nearest() -> None:
    class Atoms(Kernels):
        withheld: ClassVar = {HasDensity: "atoms"}

        def component_log_densities(self, *_: object) -> torch.Tensor:
            raise AssertionError("atoms have no densities")

    prior = Atoms(torch.tensor([[0.0], [1.0], [5.0]]).double(), 0.0)
    found = responsibilities(prior, torch.tensor([[0.4], [0.6], [9.0]]).double())
    assert torch.equal(found, torch.eye(3).double())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda w: sum(w) > 0.1))
def test_effective_modes_between_one_and_n(weights: list[float]) -> None:
    w = torch.tensor(weights).double()
    w = w / w.sum()
    means = torch.arange(len(w)).double()[:, None]
    results = results_of(problem_of(means), {"a": NormalMixture(w, means, 0.1)}, n=1)
    found = EffectiveModes().evaluate(results["a"]).columns
    assert 1 - 1e-12 <= found["effective_modes"] <= len(w) + 1e-9
    assert found["effective_modes"] >= 1 / found["max_mass"] - 1e-9
    assert found["max_mass"] == float(w.max())


def test_effective_modes_of_equal_masses() -> None:
    means = torch.arange(4.0)[:, None]
    for w, expected in (([0.25] * 4, 4), ([0.5, 0, 0.5, 0], 2), ([0, 0, 1.0, 0], 1)):
        results = results_of(problem_of(means), {"a": NormalMixture(w, means, 0.1)}, n=1)
        found = EffectiveModes().evaluate(results["a"]).columns["effective_modes"]
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0, 8.0])
def test_total_variation_of_shifted_normals(shift: float) -> None:
    """TV(N(0, 1), N(m, 1)) = 2 Phi(m / 2) - 1."""
    found = total_variation(Normal([0.0], [1.0]), Normal([shift], [1.0]))
    assert found == pytest.approx(2 * phi(shift / 2) - 1, abs=1e-6)


def test_total_variation_of_scaled_normals() -> None:
    """Densities of N(0, 1) and N(0, s^2) cross at +- s sqrt(2 log s / (s^2 - 1))."""
    s = 3.0
    c = s * math.sqrt(2 * math.log(s) / (s**2 - 1))
    expected = 2 * (phi(c) - phi(c / s))
    p, q = Normal([0.0], [1.0]), Normal([0.0], [s])
    assert total_variation(p, q) == pytest.approx(expected, abs=1e-6)


def test_total_variation_counts_mass_outside_the_grid() -> None:
    p = Normal([0.0], [1.0], cut=(-5, 5))
    q = NormalMixture([0.6, 0.4], [[0.0], [1e6]], [1.0, 1.0])
    assert total_variation(p, q) == pytest.approx(0.4, abs=1e-5)


def test_total_variation_survives_underflow() -> None:
    """Where p underflows, q / p overflows."""
    p = Normal([0.0], [1e-3], cut=(-1, 1))
    found = total_variation(p, Normal([0.9], [1e-3]))
    assert found == pytest.approx(1, abs=1e-12)


def test_total_variation_columns() -> None:
    class Bare(Normal):
        withheld: ClassVar = {HasDensity: "for this test"}

    answers = {
        "exact": Normal([0.0], [1.0]),
        "off": Normal([1.0], [1.0]),
        "bare": Bare([0.0], [1.0]),
        "draws": torch.zeros(3, 1).double(),
    }
    results = results_of(problem_of([[0.0]]), answers)
    metric = TotalVariation()
    assert metric.evaluate(results["exact"]).columns == {"tv_to_exact": 0.0}
    assert metric.evaluate(results["off"]).columns == {
        "tv_to_exact": pytest.approx(2 * phi(0.5) - 1, abs=1e-6)
    }
    assert (
        metric.evaluate(results["bare"]).columns == metric.evaluate(results["draws"]).columns == {}
    )
    assert set(TotalVariation(reference="off").evaluate(results["exact"]).columns) == {"tv_to_off"}
    with pytest.raises(PluginError, match=r"no sampler 'exat'.*Did you mean 'exact'"):
        TotalVariation(reference="exat").evaluate(results["off"])


# science: the dominance bandwidth of N equispaced points on [-3, 3] under x + 0.3 x^3
@pytest.mark.parametrize(
    ("n", "expected"), [(3, 0.3750), (5, 0.2980), (10, 0.2157), (20, 0.1544), (100, 0.0696)]
)
def test_dominance_bandwidth(n: int, expected: float) -> None:
    pool = torch.linspace(-3, 3, 100, dtype=torch.float64)
    index = torch.arange(n) * 99 // (n - 1)
    problem = problem_of(pool[index][:, None], operator=Cubic(), std=0.3)
    result = results_of(problem, {"a": torch.zeros(1, 1).double()})["a"]
    found = DominanceBandwidth().evaluate(result).columns
    assert found == {"dominance_bandwidth": pytest.approx(expected, abs=5e-5)}


def test_dominance_bandwidth_says_nothing_elsewhere() -> None:
    for points in ([[0.0, 0.0], [1.0, 1.0]], [[0.5]], [[0.5], [0.5]]):
        problem = problem_of(points)
        draws = torch.zeros(1, len(points[0])).double()
        assert DominanceBandwidth().evaluate(results_of(problem, {"a": draws})["a"]).columns == {}


def test_truth_error() -> None:
    problem = problem_of(torch.zeros(1, 2))
    truth = torch.tensor([3.0, 5.0]).double()
    answers = {
        "closed": Normal([0.0, 1.0], [1.0, 2.0]),
        "draws": torch.tensor([[3.0, 5.0], [3.0, 9.0]]).double(),
    }
    results = results_of(problem, answers, truth=truth, n=4000)
    closed = TruthError().evaluate(results["closed"]).columns
    assert closed["rmse_mean"] == pytest.approx(math.sqrt((9 + 16) / 2))
    assert closed["z_rms"] == pytest.approx(math.sqrt((9 + 4) / 2))
    draws = TruthError().evaluate(results["draws"]).columns
    assert draws == pytest.approx({"rmse_mean": 2**0.5, "rmse_samples": 4 / 2**0.5 / 2})
    assert TruthError().evaluate(results_of(problem, answers)["closed"]).columns == {}


def test_z_of_a_calibrated_posterior_is_one() -> None:
    d = 4000
    truth = Streams(1, "truth").at().normal((d,))
    result = results_of(
        problem_of(torch.zeros(1, d)), {"a": Normal(torch.zeros(d), torch.ones(d))}, truth=truth
    )["a"]
    found = TruthError().evaluate(result).columns
    assert found["z_rms"] == pytest.approx(1, abs=4 / math.sqrt(2 * d))
    # draws and truth are independent: their distance is sqrt(2)
    assert found["rmse_samples"] == pytest.approx(math.sqrt(2), abs=4 / math.sqrt(d))
