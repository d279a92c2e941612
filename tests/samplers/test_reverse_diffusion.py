"""The reverse integrator against exact flows, exact moments and exact samples."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sampler_problems import (
    COVARIANCE,
    MEAN,
    ConstantStream,
    affine_map,
    gaussian_problem,
    mixture_problem,
    order,
    run,
    wide_start,
)

from mempost.core.errors import PluginError
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.reverse import reverse_steps
from mempost.core.schedule import ExplodingSchedule
from mempost.core.streams import Stream, Streams
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.schedules.cosine import Cosine
from mempost.plugins.schedules.edm import EDM
from mempost.plugins.schedules.flow_matching import FlowMatching
from mempost.plugins.schedules.ve import VarianceExploding
from mempost.plugins.schedules.vp import VariancePreserving
from mempost.plugins.schedules.vp_discrete import DiscreteVariancePreserving
from mempost.plugins.solvers.ddim import DDIM

VP = VariancePreserving(beta_min=4.0, beta_max=4.0)
SCHEDULES = [
    VP,
    VariancePreserving(),
    VarianceExploding(sigma_min=0.05, sigma_max=8.0),
    EDM(sigma_min=0.05, sigma_max=8.0),
    Cosine(log_abar_min=-8.0),
    FlowMatching(t_max=0.8),
]


def exact_at(t: float, schedule) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of z_t/a for the Gaussian prior."""
    level = schedule.level(t)
    ratio = float(level.s / level.a)
    return MEAN, COVARIANCE + ratio**2 * torch.eye(3).double()


METHODS = [("ddim", 1), (DDIM(eta=1.0), 1), ("euler_maruyama", 1), ("heun", 2)]


@pytest.mark.parametrize(
    ("schedule", "solver", "expected"),
    [
        (schedule, *case)
        for schedule in SCHEDULES
        for case in METHODS
        # the first-order term of this pair is small: its errors fall faster at first
        if not (case[0] == "euler_maruyama" and isinstance(schedule, ExplodingSchedule))
    ],
    ids=str,
)
def test_order_of_moments_for_a_gaussian(schedule, solver, expected):
    """Steps are affine in z and the noise, so moments of all samples are known without sampling."""
    problem = gaussian_problem()
    steps, errors = [48, 96, 192], []
    for n in steps:
        sampler = ReverseDiffusion(
            schedule=schedule, steps=n, solver=solver, t_min=0.05, final="stop"
        )
        a, s = sampler.reverse_steps[0].level.columns(MEAN)
        mean = a[0] * MEAN
        covariance = a**2 * COVARIANCE + s**2 * torch.eye(3).double()
        for k in range(1, n + 1):
            M, b, gain = affine_map(sampler, problem, k, "z")
            mean, covariance = M @ mean + b, M @ covariance @ M.T + torch.diag(gain**2)
        a_end = sampler.reverse_steps[-1].next_level.a
        mean, covariance = mean / a_end, covariance / a_end**2
        exact_mean, exact_covariance = exact_at(0.05, schedule)
        errors.append(float((covariance - exact_covariance).norm() + (mean - exact_mean).norm()))
    assert errors[-1] < 0.06
    assert order(steps, errors) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(("method", "expected"), [("ddim", 1), ("heun", 2)])
def test_order_of_the_flow_for_a_mixture(method, expected):
    """The same starting points, carried by the exact flow (a fine run) and by n steps."""
    problem = mixture_problem()
    common = {"schedule": VP, "t_min": 0.02, "final": "stop"}
    start = wide_start(ReverseDiffusion(**common), problem, 256)
    fine = run(ReverseDiffusion(**common, steps=2000, solver="heun"), problem, start)["z"]
    steps, errors = [40, 80, 160], []
    for n in steps:
        z = run(ReverseDiffusion(**common, steps=n, solver=method), problem, start)["z"]
        errors.append(float((z - fine).norm(dim=-1).mean()))
    assert order(steps, errors) == pytest.approx(expected, abs=0.2)


def test_order_of_euler_maruyama_in_law_for_a_mixture():
    """The law of every state by quadrature: p'(z') = int N(z'; m(z), gain^2) p(z) dz."""
    prior = EmpiricalGMM(bandwidth=0.4).fit(torch.tensor([[-1.2], [0.3], [1.5]]).double())
    base = mixture_problem()
    problem = InverseProblem(prior, base.operator, base.noise, base.y[:1])
    grid = torch.linspace(-6, 6, 801, dtype=torch.float64)[:, None]
    dz = float(grid[1] - grid[0])

    def density(t: float) -> torch.Tensor:
        return prior.log_density(grid, VP.level(t)).exp()

    steps, errors = [25, 50, 100], []
    for n in steps:
        sampler = ReverseDiffusion(
            schedule=VP, steps=n, solver="euler_maruyama", t_min=0.02, final="stop"
        )
        p = density(1.0)
        for k in range(1, n + 1):
            centre = sampler.step(problem, {"z": grid}, k, ConstantStream(0.0))["z"]
            moved = sampler.step(problem, {"z": grid}, k, ConstantStream(1.0))["z"]
            gain = float((moved - centre)[0])
            kernel = torch.exp(-0.5 * ((grid - centre.T) / gain) ** 2) / (gain * 2.5066282746)
            p = kernel @ p * dz
        assert float(p.sum()) * dz == pytest.approx(1, abs=1e-6)
        wasserstein = float(((p - density(0.02)).cumsum(0) * dz).abs().sum() * dz)
        errors.append(wasserstein)
    assert errors[-1] < 0.02
    assert order(steps, errors) == pytest.approx(1, abs=0.2)


def sliced_wasserstein(x: torch.Tensor, y: torch.Tensor) -> float:
    """Mean W1 over 32 directions of the plane."""
    angle = torch.arange(32).double() * torch.pi / 32
    directions = torch.stack([angle.cos(), angle.sin()])
    return float(((x @ directions).sort(0).values - (y @ directions).sort(0).values).abs().mean())


@lru_cache
def exact_samples(n: int) -> tuple[list[torch.Tensor], list[float]]:
    """Forty sets of exact samples, and the distances between twenty pairs of them, sorted."""
    prior = mixture_problem().prior
    exact = [prior.sample(n, Streams(seed, "truth")) for seed in range(40)]
    return exact, sorted(sliced_wasserstein(x, y) for x, y in zip(exact[:20], exact[20:]))


@pytest.mark.parametrize(
    "sampler",
    [
        ReverseDiffusion(steps=250),
        ReverseDiffusion(steps=250, solver=DDIM(eta=1.0)),
        ReverseDiffusion(steps=250, solver="euler_maruyama"),
        ReverseDiffusion(steps=60, solver="heun"),
        ReverseDiffusion(steps=60, solver="heun", schedule=EDM()),
        ReverseDiffusion(steps=60, solver="heun", schedule=EDM(), start="noise"),
        ReverseDiffusion(steps=100, solver="heun", start="standard_normal"),
        ReverseDiffusion(
            steps=100, solver="heun", schedule=VarianceExploding(sigma_min=0.005), t_min=0
        ),
    ],
    ids=lambda s: f"{type(s.schedule).__name__}-{s.solver!r}-{s.start.type}",
)
def test_mixture_is_reproduced(sampler):
    """Distance to exact samples no larger than between two sets of exact samples."""
    problem, n = mixture_problem(), 2048
    exact, null = exact_samples(n)
    z = run(sampler, problem, wide_start(sampler, problem, n))
    x, _ = sampler.draw(problem, z)
    distances = sorted(sliced_wasserstein(x, y) for y in exact)
    assert distances[20] <= null[-2]


def test_wrong_score_is_noticed():
    """The test above can fail: a prior with the masses exchanged is far outside."""
    problem, other = mixture_problem(), mixture_problem()
    exact, null = exact_samples(2048)
    other.prior.weights = torch.tensor([0.45, 0.55]).double()
    sampler = ReverseDiffusion(steps=60, solver="heun")
    x, _ = sampler.draw(problem, run(sampler, other, wide_start(sampler, other, 2048)))
    assert sliced_wasserstein(x, exact[0]) > 1.5 * null[-1]


def test_steps_go_through_the_levels_of_the_schedule():
    schedule = DiscreteVariancePreserving(steps=200)
    plan = reverse_steps(schedule, 200, 1 / 200, "denoise")
    betas = torch.linspace(1e-4, 0.02, 200, dtype=torch.float64)
    abar = torch.cumprod(1 - betas, 0).flip(0)
    a = torch.tensor([step.level.a for step in plan], dtype=torch.float64)
    assert torch.allclose(a**2, abar, rtol=1e-12)
    assert plan[-1].is_clean and not plan[-2].is_clean
    assert all(x.next_level is y.level for x, y in pairwise(plan))
    assert plan[-1].next_level.a == 1 and plan[-1].next_level.s == 0


def test_last_step_gives_the_denoised_mean():
    problem = gaussian_problem()
    sampler = ReverseDiffusion(steps=10, solver="euler_maruyama")
    states = dict(sampler.trajectory(problem, 0, Streams(0, "sampling")))
    expected = problem.prior.denoise(states[9]["z"], NoiseLevel(*level_at(sampler)))
    assert torch.equal(states[10]["z"], expected)


def level_at(sampler: ReverseDiffusion) -> tuple[float, float]:
    level = sampler.schedule.level(sampler.t_min)
    return float(level.a), float(level.s)


def test_stopped_run_gives_the_state_in_units_of_x():
    problem = gaussian_problem()
    sampler = ReverseDiffusion(steps=10, t_min=0.3, final="stop")
    states = dict(sampler.trajectory(problem, 0, Streams(0, "sampling")))
    x = sampler.sample(problem, 32, Streams(0, "sampling")).flat
    assert torch.allclose(x, states[10]["z"] / level_at(sampler)[0], rtol=1e-14)


def test_trace_holds_the_state_after_the_step_that_reaches_a_time():
    problem = gaussian_problem()
    sampler = ReverseDiffusion(steps=11, t_min=0.0909, save=(0.6, 0.3, 0.0), solver=DDIM(eta=0.3))
    states = dict(sampler.trajectory(problem, 0, Streams(0, "sampling")))
    path = sampler.sample(problem, 40, Streams(0, "sampling")).trajectory
    assert path.z.shape == (1, 40, 3, 3)
    for i, t in enumerate(sampler.saved_times):
        k = next(k for k, step in enumerate(sampler.reverse_steps, 1) if step.t_next <= t)
        assert torch.equal(path.z[0, :32, i], states[k]["z"])
        level = sampler.reverse_steps[k - 1].next_level
        assert (path.step[i], path.a[i], path.s[i]) == (k, level.a, level.s)


def test_starts_have_their_spread():
    problem = gaussian_problem()
    schedule = VarianceExploding(sigma_max=3.0)
    for start, variance in [("noise", 9.0), ("standard_normal", 1.0), ("marginal", 10.0)]:
        z = wide_start(ReverseDiffusion(schedule=schedule, start=start), problem, 8192)["z"]
        assert float(z[:, 0].var()) == pytest.approx(variance, rel=4 * (2 / 8192) ** 0.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eta": 0.5}, "It is now solver: {type: ddim"),
        ({"method": "heun"}, "It is now solver: ddim"),
        ({"trace": [0.5]}, "It is now save: "),
        ({"solver": {"type": "heun", "eta": 0.5}}, "Unknown name"),
        ({"solver": "dormand_prince", "steps": 9}, "chooses its own"),
        ({"t_min": 0.1, "sigma_min": 0.1}, "either t_min or sigma_min"),
        ({"sigma_min": 1e-9, "schedule": EDM()}, "outside of the schedule"),
        ({"save": {"dense": 5, "times": [0.5]}}, "give one of"),
        ({"t_min": 0.0}, "t_min = 0 has no noise"),
        ({"t_min": 0.2, "final": "stop", "save": (0.1,)}, "below t_min"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"save": (1.0,)}, "less than 1"),
        ({"solver": "euler"}, "No solver has this name"),
    ],
)
def test_inconsistent_recipes_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        ReverseDiffusion(**fields)


@pytest.mark.parametrize("kind", ["ve", "edm"])
def test_levels_that_fall_are_refused(kind):
    with pytest.raises(ValidationError, match="sigma_min is 10; allowed are values below sigma_m"):
        ReverseDiffusion(schedule={"type": kind, "sigma_min": 10.0, "sigma_max": 1.0})


def test_uniform_numbers_stay_below_one_in_every_precision():
    class Largest:
        def random(self, shape):
            return np.full(shape, 1 - 2.0**-53)

    for dtype in (torch.float64, torch.float32):
        assert float(Stream(Largest()).uniform((1,), dtype)) < 1


def test_one_step_is_enough_for_one_call():
    problem = gaussian_problem()
    x = ReverseDiffusion(steps=1).sample(problem, 3, Streams(0, "sampling")).flat
    assert x.shape == (3, 3)


def test_listed_starts_take_their_turn_over_tiles(tmp_path):
    """Row i starts at point i, whatever its tile; latents are scaled by s, points by a."""
    problem = gaussian_problem()
    u = Streams(4, "data").at().normal((50, 3))
    np.save(tmp_path / "e.npy", u.numpy())
    fields = {"schedule": VariancePreserving(), "steps": 3, "save": {"dense": 3}}
    points = {"type": "points", "values": u.tolist()}
    level = VariancePreserving().level(1.0)
    latents = {"type": "latents", "file": tmp_path / "e.npy"}
    for start, factor in [(points, level.a), (latents, level.s)]:
        sampler = ReverseDiffusion(**fields, start=start)
        z = sampler.sample(problem, 70, Streams(0, "sampling")).trajectory.states(0)
        torch.testing.assert_close(z, factor * torch.cat([u, u[:20]]))
    with pytest.raises(PluginError, match="rows have 2 coordinates, the prior has 3"):
        ReverseDiffusion(**fields, start="square").sample(problem, 32, Streams(0, "sampling"))
