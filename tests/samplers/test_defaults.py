"""Every sampler with its defaults alone: a spread within a factor two of the exact one, or a no."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch

from mempost.benchmarks import defaults
from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.methods.chains.stiffness import (
    data_curvature,
    data_stiffness,
    first_guess,
    largest_eigenvalue,
    prior_curvature,
)
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.samplers.annealed_langevin import AnnealedLangevin
from mempost.plugins.samplers.daps import DAPS
from mempost.plugins.samplers.mala import MALA
from mempost.plugins.samplers.ula import ULA

NO_DEFAULTS = {"distorted"}
BY_PROBLEM = {  # of those that take any problem one is enough here; the benchmark makes them all
    "figure 1 (0.5)": (
        "annealed_langevin daps dps exact_lgm finite_sample finite_sample_weights gauss_newton_dps "
        "guided importance mala quadrature reverse_diffusion smc ula"
    ),
    "gain": "ddrm diffpir mmps pcn pigdm tmpd",
}
REFUSED = {  # what each names in its place
    "figure 1 (0.5)": {
        **dict.fromkeys(("ddrm", "diffpir", "mmps", "pigdm", "tmpd"), "gauss_newton_dps"),
        "pcn": "mala",
    },
    "gain": {"finite_sample": "atoms: N", "finite_sample_weights": "exact_lgm"},
}
CASES = [(problem, name) for problem, names in BY_PROBLEM.items() for name in names.split()]


def test_every_sampler_is_held_to_it():
    named = {name for _, name in CASES} | NO_DEFAULTS
    mine = {
        n
        for n in REGISTRIES["sampler"].names
        if REGISTRIES["sampler"].entry(n).distribution == "mempost"
    }
    assert named == mine
    assert set(defaults.samplers()) >= named - NO_DEFAULTS


MEASURE = """
import json, sys, torch
from mempost.benchmarks import defaults
torch.set_num_threads(1)
for where, name in json.load(sys.stdin):
    problem, sampler = defaults.PROBLEMS[where](), defaults.samplers()[name]
    sampler.check(problem)
    found = defaults.ratios(sampler, problem, defaults.draws(sampler, problem, 128))
    print(json.dumps([where, name, float(found.min()), float(found.max())]))
"""


@pytest.fixture(scope="module")
def measured():
    """Ratios by problem and sampler; thousands of steps, so where annotations are not checked."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=json.dumps(CASES), capture_output=True, text=True
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(CASES), done.stderr
    return {(where, name): ratios for where, name, *ratios in rows}


@pytest.mark.parametrize(("where", "name"), CASES)
def test_defaults_give_a_spread_within_a_factor_of_two(measured, where, name):
    """128 independent draws know a standard deviation to 6 %, 32 chains of 100 draws better."""
    low, high = measured[where, name]
    assert low > 0.5 and high < 2


@pytest.mark.parametrize(("where", "name"), [(w, n) for w, of in REFUSED.items() for n in of])
def test_where_it_does_not_apply_a_sampler_names_what_does(where, name):
    with pytest.raises(PluginError, match=REFUSED[where][name]) as caught:
        defaults.samplers()[name].check(defaults.PROBLEMS[where]())
    assert "\n" not in str(caught.value)


BEYOND = {"finite_sample", "finite_sample_weights", "gauss_newton_dps", "guided"}
"""On the plane: without a bandwidth there is one atom left, and Gauss-Newton over-spreads."""


@pytest.mark.slow
def test_the_whole_benchmark():
    for row in defaults.run(quick=True):
        for where in defaults.PROBLEMS:
            cell = row[where]
            if cell == "refused" or (where == "plane" and row["sampler"] in BEYOND):
                continue
            assert all(0.5 < float(v) < 2 for v in cell.split(" to ")), row


# -- steps that follow the curvature --------------------------------------------------------------


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_power_method_finds_the_norm_to_a_factor_of_two():
    """And stays below it, for spectra with a gap and without."""
    for seed, d in ((0, 1), (1, 5), (2, 60)):
        for spectrum in (torch.rand(d, dtype=torch.float64) + 0.01, torch.arange(d) == 0):
            Q, _ = torch.linalg.qr(random(d, d, seed=seed))
            H = Q @ torch.diag(spectrum.double()) @ Q.T
            found, _ = largest_eigenvalue(lambda v, H=H: v @ H, first_guess(random(3, d)))
            norm = float(torch.linalg.norm(H, 2))
            assert (found <= norm * (1 + 1e-12)).all() and (found > norm / 2).all()


def test_curvatures_are_those_of_the_density():
    """A^T A of a linear operator, bounds of a mixture, the Hessian of another prior."""
    A, C = random(4, 3, seed=1), torch.diag(torch.tensor([0.04, 1.0, 2.0]).double())
    prior = Gaussian(mean=[0.0] * 3, covariance=C).fit()
    problem = InverseProblem(prior, Linear(matrix=A), GaussianNoise(0.5), torch.zeros(4).double())
    x, v = random(2, 3, seed=2), random(2, 3, seed=3)
    assert torch.allclose(data_curvature(problem, x)(v), 4 * v @ A.T @ A)
    norm = float(torch.linalg.norm(2 * A, 2)) ** 2
    assert torch.allclose(data_stiffness(problem, x), torch.full((2,), norm).double(), rtol=1e-3)
    assert torch.allclose(prior_curvature(prior, x, 0.0)(v), v / 0.04)
    assert torch.allclose(prior_curvature(prior, x, 0.3)(v), v / 0.13)
    hidden = Hidden(prior)
    assert torch.allclose(prior_curvature(hidden, x, 0.0)(v), v @ torch.linalg.inv(C))
    assert torch.allclose(prior_curvature(hidden, x, 0.3)(v), v / 0.09)


class Hidden:
    """A prior of which only the density is known."""

    def __init__(self, prior):
        self.prior = prior

    def log_density(self, z, level):
        return self.prior.log_density(z, level)


def scaled(of_x: float, of_y: float, sampler):
    """Draws of a problem with x in units of 1/of_x and y in units of 1/of_y, in units of one."""
    prior = Gaussian(mean=[0.5 * of_x, -of_x], covariance=[of_x**2, of_x**2]).fit()
    y = of_y * torch.tensor([0.9, 0.2], dtype=torch.float64)
    operator = Linear(matrix=[[of_y / of_x, 0.0], [0.0, of_y / of_x]])
    problem = InverseProblem(prior, operator, GaussianNoise(0.5 * of_y), y)
    return sampler.sample(problem, 4, Streams(0, "sampling")).values / of_x


CHAIN = {"warmup": 20, "draws": 3, "thin": 2}


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize(
    "sampler",
    [ULA(**CHAIN), MALA(**CHAIN), DAPS(steps=8), AnnealedLangevin(levels=4, steps_per_level=5)],
    ids=lambda s: type(s).__name__,
)
def test_units_of_the_data_do_not_matter(sampler, unit):
    assert torch.allclose(scaled(1.0, unit, sampler), scaled(1.0, 1.0, sampler), rtol=1e-8)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("sampler", [ULA(**CHAIN), MALA(**CHAIN)], ids=lambda s: type(s).__name__)
def test_units_of_the_unknowns_do_not_matter(sampler, unit):
    assert torch.allclose(scaled(unit, 1.0, sampler), scaled(1.0, 1.0, sampler), rtol=1e-6)


def test_the_step_of_ula_is_a_fifth_of_the_inverse_curvature_and_is_taken_twice():
    """Under a quadratic map every chain has its own; half-way it follows the chain."""
    prior = Gaussian(mean=[0.0, 0.0], covariance=1.0).fit()
    y = torch.tensor([1.4, 0.392], dtype=torch.float64)
    problem = InverseProblem(prior, Quadratic2D(), GaussianNoise(0.3), y)
    states = dict(ULA(warmup=20, draws=2, thin=1).trajectory(problem, 0, Streams(3, "sampling")))
    for k in (0, 10):  # the state before step 10 is that after step 9
        x = states[max(k - 1, 0)]["x"]
        _, A = problem.linearise(x)
        H = A.mT @ A + torch.eye(2).double()
        h = states[k]["step_size"]
        share = h * torch.linalg.matrix_norm(H, 2)
        assert (share >= 0.2 - 1e-12).all() and (share < 0.3).all()
    for k in (9, 22):
        assert torch.equal(states[k]["step_size"], states[k - 9 if k == 9 else 10]["step_size"])


def test_a_gain_that_is_given_is_the_rule_as_published():
    """w = gamma^2/(gamma^2 + sigma^2) for a gain of 1, whatever the operator."""
    prior = Gaussian(mean=[0.0], covariance=1.0).fit()
    for slope, gain in ((1.0, None), (3.0, 3.0), (3.0, None)):
        operator = Linear(matrix=[[slope]])
        problem = InverseProblem(prior, operator, GaussianNoise(0.5), torch.ones(1).double())
        sampler = AnnealedLangevin(levels=2, steps_per_level=1, gain=gain)
        sigma, x = sampler.sigma(1), torch.tensor([[0.7]], dtype=torch.float64)
        w, _ = sampler._weight(problem, {"x": x}, sigma)
        assert float(w) == pytest.approx(0.25 / (0.25 + (slope * sigma) ** 2), rel=1e-6)
    assert math.isclose(
        float(AnnealedLangevin(gain=1.0)._weight(problem, {"x": x}, 2.0)[0]), 1 / 17
    )
