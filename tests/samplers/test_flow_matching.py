"""The straight path of flow matching under every sampler that takes a schedule."""

from __future__ import annotations

import pytest
import torch
from sampler_problems import gaussian_posterior, gaussian_problem, mixture_problem
from scipy import stats

from mempost.core.errors import PluginError
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.plugins.schedules.flow_matching import FlowMatching
from mempost.testing import plugin_named

NAMES = [
    name
    for name in REGISTRIES["sampler"].names
    if REGISTRIES["sampler"].entry(name).distribution == "mempost"
    and "schedule" in REGISTRIES["sampler"].get(name).model_fields
]
NEEDS = {"annealed_langevin": {"t_min": 0.01}, "finite_sample": {"atoms": 16}}
EXACT_FOR_A_GAUSSIAN = ["tmpd", "mmps"]


def test_levels_and_rates():
    schedule = FlowMatching(t_max=0.999)
    level = schedule.level(1.0)
    assert float(level.a) == pytest.approx(1e-3) and float(level.s) == 0.999
    assert float(schedule.level(0.0).s) == 0 and schedule.first_time == 1e-3
    t = torch.tensor([0.1, 0.7]).double()
    level, tau = schedule.level(t), 0.999 * t
    torch.testing.assert_close(level.a + level.s, torch.ones(2).double())
    # in the time of the publication dz = -z/(1 - tau) dtau + sqrt(2 tau/(1 - tau)) dW
    torch.testing.assert_close(schedule.drift(t), -0.999 / (1 - tau))
    torch.testing.assert_close(schedule.diffusion_squared(t), 0.999 * 2 * tau / (1 - tau))


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_walks_down_it(name):
    hyper = {"schedule": "flow_matching", **NEEDS.get(name, {})}
    sampler = plugin_named(f"sampler:{name}", hyper)
    problem = mixture_problem()
    try:
        sampler.check(problem)
    except PluginError:
        problem = gaussian_problem()
    x = sampler.sample(problem, 32, Streams(0, "sampling")).values
    assert torch.isfinite(x).all()
    assert float(x.abs().max()) < 20


@pytest.mark.parametrize("name", EXACT_FOR_A_GAUSSIAN)
def test_exact_guidance_gives_the_posterior_along_it(name):
    sampler = plugin_named(
        f"sampler:{name}", {"schedule": "flow_matching", "steps": 300, "tile": 2048}
    )
    x = sampler.sample(gaussian_problem(), 2048, Streams(0, "sampling")).values.flatten(0, 1)
    mean, covariance = gaussian_posterior()
    for u in torch.eye(3).double():
        law = stats.norm(float(mean @ u), float(u @ covariance @ u) ** 0.5)
        assert stats.kstest((x @ u).numpy(), law.cdf).pvalue > 1e-4


def test_unconditional_draws_have_the_law_of_the_prior():
    problem = mixture_problem()
    hyper = {"schedule": "flow_matching", "steps": 200, "tile": 2048}
    sampler = plugin_named("sampler:reverse_diffusion", hyper)
    z = sampler.sample(problem, 2048, Streams(0, "sampling")).values.flatten(0, 1)
    x = problem.prior.sample(8192, Streams(5, "sampling"))
    for u in torch.eye(2).double():
        assert stats.ks_2samp((z @ u).numpy(), (x @ u).numpy()).pvalue > 1e-4
