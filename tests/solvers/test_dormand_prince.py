"""The error-controlled solver: laws of the flow under a memorized prior, rows and guidances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mempost.core.counters import counting
from mempost.core.errors import MempostError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.gauss_newton_dps import GaussNewtonDPS
from mempost.plugins.samplers.pigdm import PiGDM
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.samplers.tmpd import TMPD
from mempost.plugins.schedules.flow_matching import FlowMatching
from mempost.plugins.schedules.ve import VarianceExploding
from mempost.plugins.schedules.vp import VariancePreserving
from mempost.plugins.solvers.dormand_prince import DormandPrince

STREAMS = Streams(3, "sampling")
VE = VarianceExploding(sigma_min=1e-6, sigma_max=4.6365)
POINTS = torch.from_numpy(np.random.RandomState(1).randn(20, 2))
ATOMS = EmpiricalGMM(bandwidth=0.0).fit(POINTS)
FLOW = {"schedule": VE, "t_min": 0.0, "start": "noise", "final": "stop"}


def unconditional(prior):
    return InverseProblem(prior)


@pytest.fixture(scope="module")
def paths():
    sampler = ReverseDiffusion(**FLOW, solver="dormand_prince", save={"dense": 200}, tile=224)
    return sampler.sample(unconditional(ATOMS), 200, STREAMS)


def test_paths_end_on_training_points_at_rate_one(paths):
    """Baptista et al. 2025: the distance to the limit falls like sigma once no cell is left."""
    path = paths.trajectory
    distance = torch.cdist(path.z[0].transpose(0, 1), POINTS)
    nearest, s = distance.argmin(-1), -path.s.log()
    end = nearest[-1]
    # sigma = 1e-6 at the end, and a few of its standard deviations
    assert float(distance[-1].min(-1).values.max()) < 5e-6
    apart = torch.cdist(POINTS, POINTS).fill_diagonal_(math.inf).min(-1).values
    crossings = (nearest[1:] != nearest[:-1]).sum(0)
    assert 0.6 < float((crossings > 0).double().mean()) < 0.78  # 69 % in science, 200 paths
    for i in range(200):
        left = torch.nonzero(nearest[1:, i] != nearest[:-1, i])[:, 0]
        last = float(s[left[-1] + 1]) if len(left) else -math.inf
        window = (s >= max(last, math.log(10 / float(apart[end[i]])))) & (s <= 12)
        slope = np.polyfit(s[window], distance[window, i, end[i]].log(), 1)[0]
        assert slope == pytest.approx(-1, abs=0.005)


def test_a_row_alone_goes_the_way_that_it_goes_in_a_batch(paths):
    z = paths.trajectory.z[0, :8, 0]
    solver, level = DormandPrince(), VE.level(1.0)
    targets = [NoiseLevel(1.0, s) for s in (1.0, 0.1, 1e-3, 1e-6)]
    batch = solver.integrate(ATOMS.denoise, z, level, targets)
    for i in range(len(z)):
        alone = solver.integrate(ATOMS.denoise, z[i : i + 1], level, targets)
        for together, single in zip(batch, alone):
            torch.testing.assert_close(single[0], together[i], rtol=1e-12, atol=1e-12)


def test_levels_may_differ_by_row():
    solver = DormandPrince(tolerance=1e-8)
    z = torch.tensor([[3.0, -1.0], [0.4, 0.2]]).double()
    both = NoiseLevel(1.0, torch.tensor([4.0, 0.5]).double())
    end = solver.integrate(ATOMS.denoise, z, both, [NoiseLevel(1.0, 0.05)])[0]
    for i, s in enumerate((4.0, 0.5)):
        alone = solver.integrate(
            ATOMS.denoise, z[i : i + 1], NoiseLevel(1.0, s), [NoiseLevel(1.0, 0.05)]
        )[0]
        torch.testing.assert_close(alone[0], end[i], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_the_flow_of_a_gaussian_is_linear(tolerance):
    """u - m scales like sqrt((v + sigma'^2)/(v + sigma^2)) along an eigenvector of variance v."""
    v, m = torch.tensor([4.0, 0.25]).double(), torch.tensor([1.0, -2.0]).double()
    prior = Gaussian(mean=m.tolist(), covariance=torch.diag(v).tolist()).fit()
    u = torch.tensor([[5.0, 3.0], [-2.0, 0.1]]).double()
    levels = [3.0, 0.7, 0.01]
    found = DormandPrince(tolerance=tolerance).integrate(
        prior.denoise, u, NoiseLevel(1.0, 10.0), [NoiseLevel(1.0, s) for s in levels]
    )
    for s, x in zip(levels, found):
        exact = m + (u - m) * ((v + s**2) / (v + 100.0)).sqrt()
        assert float((x - exact).abs().max()) < 40 * tolerance * max(s, 0.1) + 1e-12


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [(PiGDM, VariancePreserving()), (TMPD, VE), (GaussNewtonDPS, FlowMatching())],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_agrees_with_many_steps_of_heun_under_guidance(kind, schedule):
    prior = EmpiricalGMM(bandwidth=0.4).fit(POINTS[:6])
    operator = Linear(matrix=[[1.0, 0.5]])
    problem = InverseProblem(prior, operator, GaussianNoise(0.5), torch.tensor([0.3]).double())
    end = {"schedule": schedule, "start": "noise", "sigma_min": 0.05, "final": "denoise"}
    one = kind(**end, solver=DormandPrince(tolerance=1e-7), save=[0.5])
    found = one.sample(problem, 32, STREAMS)
    other = kind(**end, solver="heun", steps=601)
    expected = other.sample(problem, 32, STREAMS)
    torch.testing.assert_close(found.flat, expected.flat, rtol=0, atol=2e-3)
    assert found.trajectory.z.shape == (1, 32, 1, 2) and one.nfe(prior) is None


def test_the_step_adapts_and_levels_between_cost_nothing():
    with counting() as none:
        plain = ReverseDiffusion(**FLOW, solver="dormand_prince").sample(
            unconditional(ATOMS), 32, STREAMS
        )
    with counting() as dense:
        saved = ReverseDiffusion(**FLOW, solver="dormand_prince", save={"dense": 200}).sample(
            unconditional(ATOMS), 32, STREAMS
        )
    assert none == dense
    assert torch.equal(plain.flat, saved.flat)
    assert torch.equal(saved.trajectory.states(199), saved.flat)


def test_hyperplane_of_two_points():
    """80 starts on a square: the two on the symmetry axis end between the points (E2.3)."""
    prior = EmpiricalGMM(bandwidth=0.0).fit(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double())
    start = {"type": "square", "half_side": 2.1, "per_side": 21}
    schedule = VarianceExploding(sigma_min=1e-8, sigma_max=1.0)
    sampler = ReverseDiffusion(
        schedule=schedule, t_min=0.0, start=start, final="stop", solver="dormand_prince", tile=96
    )
    end = sampler.sample(unconditional(prior), 80, STREAMS).flat
    on_data = (torch.cdist(end, prior.means).min(-1).values < 1e-6).sum()
    between = (end.norm(dim=-1) < 1e-6).sum()
    assert (int(on_data), int(between)) == (78, 2)


def test_refusals():
    with pytest.raises(ValidationError, match="UnitGradient moves z after every step"):
        DPS(rule="unit_gradient", solver="dormand_prince")
    slow = ReverseDiffusion(**FLOW, solver=DormandPrince(max_steps=3))
    with pytest.raises(MempostError, match="give a larger tolerance or sigma_min"):
        slow.sample(unconditional(ATOMS), 32, STREAMS)
