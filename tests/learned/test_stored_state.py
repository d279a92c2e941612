"""The stored form: safetensors and JSON there and back, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from learned_problems import QUICK, TRAINING, fitted, points
from safetensors.torch import load_file, save_file
from torch import nn

from mempost.core.errors import CorruptFileError, PluginError
from mempost.core.level import NoiseLevel
from mempost.core.network import Network
from mempost.core.prior import State
from mempost.core.registry import REGISTRIES
from mempost.core.schedule import NoiseSchedule, as_time
from mempost.core.streams import Streams
from mempost.methods.score_matching.fitted import FORMAT, FittedScore
from mempost.plugins.priors.learned_score import LearnedScore


def test_through_safetensors_and_json(tmp_path):
    prior = fitted(points(), snapshots=(5, 60), standardise=True)
    tensors, values = prior.state()
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp_path / "prior.safetensors")
    read = State(load_file(tmp_path / "prior.safetensors"), json.loads(json.dumps(values)))
    again = FittedScore.from_state(read)
    assert again.network == prior.network
    for step in (None, 5):
        one, two = (p if step is None else p.at_step(step) for p in (prior, again))
        draws = [p.coordinates.to_raw(p.sample(40, Streams(0, "sampling"))) for p in (one, two)]
        assert torch.equal(*draws)
    assert all(
        torch.equal(a.nan_to_num(), again.history.curves[name].nan_to_num())
        for name, a in prior.history.curves.items()
    )


def without(state: State, name: str) -> State:
    tensors = {k: v for k, v in state.tensors.items() if k != name}
    return State(tensors, {k: v for k, v in state.values.items() if k != name})


def test_another_format_is_refused():
    state = fitted().state()
    later = State(state.tensors, {**state.values, "format": FORMAT + 1})
    with pytest.raises(CorruptFileError, match=f"of format {FORMAT + 1}; this version reads"):
        FittedScore.from_state(later)


@pytest.mark.parametrize(
    "name", ["centre", "network.layers.0.weight", "coordinates.scale", "sigma_range", "network"]
)
def test_a_missing_part_is_refused(name):
    with pytest.raises(CorruptFileError, match="is damaged") as error:
        FittedScore.from_state(without(fitted().state(), name))
    assert "\n" not in str(error.value)


def test_a_weight_of_another_shape_is_refused():
    state = fitted().state()
    tensors = {**state.tensors, "network.layers.0.bias": torch.zeros(3)}
    with pytest.raises(CorruptFileError, match=r"layers\.0\.bias"):
        FittedScore.from_state(State(tensors, state.values))


def test_an_unknown_snapshot_is_refused():
    with pytest.raises(PluginError, match="no snapshot of step 4; steps kept are 5"):
        fitted(snapshots=(5,)).at_step(4)


class Linear(Network):
    """A network of one's own."""

    bias: bool = True

    def build(self, shape):
        class Module(nn.Module):
            def __init__(self, bias):
                super().__init__()
                self.map = nn.Linear(shape[0], shape[0], bias)

            def forward(self, x, clock):
                return self.map(x)

        return Module(self.bias)


def test_a_network_of_ones_own_is_trained_stored_and_found(monkeypatch):
    monkeypatch.setitem(REGISTRIES["network"]._local, "straight", Linear)
    hyper = {**QUICK, "network": {"type": "straight", "bias": False}}
    fit = LearnedScore.model_validate(hyper).fit(points(), streams=TRAINING)
    assert fit.network == Linear(bias=False)
    again = FittedScore.from_state(fit.state())
    assert again.network == Linear(bias=False)
    moved = fit.to(dtype=torch.float32)
    assert moved.dtype == torch.float32 and moved.denoiser.centre.dtype == torch.float32
    stored = fit.state()
    monkeypatch.undo()
    with pytest.raises(CorruptFileError, match="type: No network has this name"):
        FittedScore.from_state(stored)


def test_an_unregistered_network_is_refused_by_name():
    prior = LearnedScore.model_validate({**QUICK, "network": Linear})
    with pytest.raises(ValueError, match=r"PluginError: .*Linear is not registered as a network"):
        prior.fit(points(), streams=TRAINING)


class Bent(NoiseSchedule):
    """sigma = t^2 + 0.01 t: no noise at t = 0."""

    def level(self, t):
        t = as_time(t)
        return NoiseLevel(torch.ones_like(t), 5 * t**2 + 0.01 * t)

    def drift(self, t):
        return torch.zeros_like(as_time(t))

    def diffusion_squared(self, t):
        t = as_time(t)
        return 2 * (5 * t**2 + 0.01 * t) * (10 * t + 0.01)

    @property
    def first_time(self):
        return 0.1


def test_a_schedule_of_ones_own_is_trained_on_from_its_first_time(monkeypatch):
    monkeypatch.setitem(REGISTRIES["schedule"]._local, "bent", Bent)
    prior = LearnedScore.model_validate({**QUICK, "schedule": "bent"})
    fit = prior.fit(points(), streams=TRAINING)
    assert fit.denoiser.low == pytest.approx(5 * 0.1**2 + 0.01 * 0.1)
    assert fit.denoiser.high == pytest.approx(5.01)
