"""Networks: shapes, sizes, deterministic weights, and what each of them takes."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from learned_problems import TRAINING
from pydantic import ValidationError

from mempost.core.errors import PluginError
from mempost.core.fields import PluginField
from mempost.core.network import CLOCK
from mempost.methods.score_matching.embedding import sinusoidal
from mempost.plugins.networks.residual_mlp import ResidualMLP
from mempost.plugins.networks.unet_2d import UNet2D
from mempost.plugins.priors.learned_score import LearnedScore

HAS_DIFFUSERS = importlib.util.find_spec("diffusers") is not None
NETWORKS = [
    ("mlp", (7,)),
    ({"type": "mlp", "activation": "relu", "hidden": 1}, (2, 3)),
    ({"type": "residual_mlp", "width": 32, "blocks": 2}, (5,)),
    ({"type": "residual_mlp", "width": 8, "blocks": 0}, (1,)),
    ("unet_1d", (100,)),
    ({"type": "unet_1d", "channels": [4, 6, 8], "kernel": 3}, (13,)),
    ({"type": "unet_1d", "channels": [5]}, (3,)),
    pytest.param(
        {"type": "unet_2d", "channels": [8, 16], "attention": True},
        (9, 10),
        marks=pytest.mark.skipif(not HAS_DIFFUSERS, reason="needs the extra mempost[unet]"),
    ),
]


def network(values):
    return PluginField("network").make(values)


@pytest.mark.parametrize(("values", "shape"), NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_network_maps_states_to_states(values, shape, dtype):
    recipe, d = network(values), torch.Size(shape).numel()
    like = torch.zeros(1, dtype=dtype)
    module = recipe.initialised(shape, TRAINING.at(1), like)
    x = TRAINING.at(2).normal((4, d), dtype)
    clock = torch.tensor([0.0, 10.0, 50.0, CLOCK], dtype=dtype)
    y = module(x, clock)
    assert y.shape == x.shape and y.dtype == dtype
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    alone = torch.cat([module(x[i : i + 1], clock[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(y, alone, **tolerance)
    assert not torch.allclose(module(x, clock.flip(0)), y)  # the level matters
    assert not torch.allclose(module(x.flip(0), clock), y)
    again = recipe.initialised(shape, TRAINING.at(1), like)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters()))
    other = recipe.initialised(shape, TRAINING.at(3), like)
    assert not torch.equal(next(module.parameters()), next(other.parameters()))


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    network("mlp").initialised((3,), TRAINING.at(1), torch.zeros(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_residual_network_of_the_paper_has_51_million_weights():
    recipe = ResidualMLP(width=2048, blocks=12, embedding=256)
    with torch.device("meta"):
        module = recipe.build((100,))
    weights = sum(w.numel() for w in module.parameters())
    w = 2048
    assert weights == (356 + 1) * w + 12 * (w**2 + w + 2 * w) + (w + 1) * 100
    assert 50e6 < weights < 52e6


def test_features_are_sines_and_cosines_from_1_to_1e_minus_4():
    clock = torch.tensor([0.0, 3.0], dtype=torch.float64)
    features = sinusoidal(clock, 8)
    w = torch.logspace(0, -4, 4, dtype=torch.float64)
    torch.testing.assert_close(features[1], torch.cat([(3 * w).sin(), (3 * w).cos()]))
    torch.testing.assert_close(features[0], torch.tensor([0.0] * 4 + [1.0] * 4).double())


def test_image_networks_take_images_of_divisible_channels():
    with pytest.raises(PluginError, match=r"unet_2d takes images.*found \(100,\)"):
        UNet2D().build((100,))
    with pytest.raises(ValidationError, match="10 channels do not fall into 8 groups"):
        UNet2D(channels=(10,))


@pytest.mark.skipif(HAS_DIFFUSERS, reason="diffusers is installed")
def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(PluginError, match=r"pip install 'mempost\[unet\]'"):
        UNet2D().build((8, 8))


def test_unknown_networks_and_sizes_are_refused():
    for wrong in ("resnet", {"type": "mlp", "width": 0}, {"type": "mlp", "embedding": 7}):
        with pytest.raises(ValidationError):
            LearnedScore(network=wrong)
