"""One denoiser, one flow: derivatives, steps and calls come from one place each."""

from __future__ import annotations

import pytest
import torch
from sampler_problems import gaussian_problem

from mempost.core import flow
from mempost.core.counters import counting
from mempost.core.denoised import Denoised
from mempost.core.prior import FittedPrior, State
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.plugins.networks.mlp import MLP
from mempost.plugins.priors.learned_score import LearnedScore
from mempost.plugins.samplers.daps import DAPS
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion

STREAMS = Streams(0, "sampling")


class Watched(Denoised):
    """Derivatives of one's own, that are counted."""

    used = 0

    def vjp(self, v):
        Watched.used += 1
        return super().vjp(v)

    def covariance_product(self, v):
        Watched.used += 1
        return super().covariance_product(v)


class Shrinking(FittedPrior):
    """N(0, I) with derivatives of its own."""

    def _denoise(self, z, a, s):
        return a / (a**2 + s**2) * z

    def at(self, z, level):
        return Watched(self, z, level)

    def _draw(self, stream):
        return stream.normal((32, self.dimension), self.dtype, self.device)

    def _state(self):
        return State({}, {})

    @classmethod
    def _from_state(cls, state):
        raise NotImplementedError


DIFFERENTIATES = [
    ("dps", {}),
    ("dps", {"rule": "residual_norm"}),
    ("pigdm", {}),
    ("tmpd", {}),
    ("mmps", {}),
    ("gauss_newton_dps", {}),
    ("gauss_newton_dps", {"covariance": "isotropic"}),
    ("guided", {"guidance": "pigdm"}),
]


@pytest.mark.parametrize(("name", "fields"), DIFFERENTIATES, ids=str)
def test_derivatives_of_a_prior_are_used(name, fields):
    base = gaussian_problem()
    prior = Shrinking(base.prior.shape, base.prior.coordinates.location)
    problem = InverseProblem(prior, base.operator, base.noise, base.y)
    sampler = REGISTRIES["sampler"].get(name)(**fields, steps=5)
    Watched.used = 0
    sampler.sample(problem, 32, STREAMS)
    assert Watched.used >= 4


@pytest.fixture(scope="module")
def learned():
    x = gaussian_problem().prior.sample(64, Streams(1, "data"))
    network = MLP(width=8, hidden=1)
    return LearnedScore(network=network, steps=20, sample_steps=4).fit(x)


def under(prior):
    base = gaussian_problem()
    return InverseProblem(prior, base.operator, base.noise, base.y)


STARTED = [
    name
    for name in REGISTRIES["sampler"].names
    if REGISTRIES["sampler"].entry(name).distribution == "mempost"
    and "start" in REGISTRIES["sampler"].get(name).model_fields
    and name != "finite_sample"  # asks the denoiser of its atoms, not the prior's
]


@pytest.mark.parametrize("start", ["marginal", "noise", "standard_normal"])
@pytest.mark.parametrize("name", STARTED)
def test_calls_of_a_learned_prior_are_those_declared(learned, name, start):
    """Calls of the network, counted at the network itself, row by row."""
    cls = REGISTRIES["sampler"].get(name)
    sampler, problem, made = cls(steps=6, start=start), under(learned), []
    handle = learned.denoiser.network.register_forward_hook(lambda *a: made.append(len(a[2])))
    try:
        with counting() as counts:
            sampler.sample_tile(problem, 0, STREAMS)
    finally:
        handle.remove()
    assert counts["denoiser_calls"] == sum(made) == 32 * sampler.nfe(learned)


@pytest.mark.parametrize("stepper", ["euler", "heun"])
def test_a_step_stands_once(learned, monkeypatch, stepper):
    """Another step of the flow changes samplers, draws of learned priors and DAPS alike."""
    problem = under(learned)
    solver = "ddim" if stepper == "euler" else "heun"

    def answers():
        sampler = ReverseDiffusion(steps=6, solver=solver, start="noise")
        drawn = [sampler.sample(problem, 32, STREAMS).flat, learned.sample(32, STREAMS)]
        daps = DAPS(steps=3, ode_steps=3, start="noise")
        return [*drawn, daps.sample(problem, 32, STREAMS).flat]

    right, wrong = answers(), getattr(flow, stepper)
    monkeypatch.setattr(flow, stepper, lambda *arguments: 0.9 * wrong(*arguments))
    changed = [not torch.equal(x, y) for x, y in zip(right, answers())]
    assert changed == [True, True, stepper == "euler"]  # DAPS makes steps of first order
