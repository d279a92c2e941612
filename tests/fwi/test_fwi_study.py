"""The study's data, controls and specs: published facts, and settings that later specs rely on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mempost.core.streams import Streams
from mempost.experiments.run import load
from mempost.plugins.guidance.unit_gradient import UnitGradient
from mempost.plugins.metrics.nearest_neighbour import NearestNeighbour, nearest
from mempost.plugins.samplers.gauss_newton_dps import GaussNewtonDPS
from mempost.plugins.solvers.ddim import DDIM

CONFIGS = Path(__file__).parents[2] / "configs"
STUDIES = ["fwi", "fwi_quick", "fwi_reference_grid"]

# N: mean ratio, share of never-trained fields with r < 0.5 and r < 0.7, the same for left-out
# training fields, and with r < 0.7 in standardised coordinates; from an independent program
HELD_OUT = {
    50: (0.607, 0.031, 0.956, 0.940, 0.708),
    200: (0.721, 0.003, 0.337, 0.295, 0.064),
    1000: (0.781, 0.000, 0.083, 0.064, 0.006),
}


@pytest.fixture(scope="module")
def first_point():
    return load(CONFIGS / "fwi.yaml")[0].points[0].spec


@pytest.mark.parametrize("n", HELD_OUT)
def test_never_trained_fields_pass_the_ratio_test_as_published(first_point, n):
    dataset = first_point.data
    fields = dataset.dataset.model_copy(update={"n_train": n})
    data = dataset.model_copy(update={"dataset": fields}).load(Streams(42, "data"))
    mean, half, rate, left_out, standardised = HELD_OUT[n]
    rule = NearestNeighbour()
    measured = rule.measure(nearest(data.held_out, data.train, 50))
    ratio = measured["ratio_mean"]

    def close(found, expected, count):
        error = math.sqrt(max(expected * (1 - expected), 1e-3) / count)
        assert float(found) == pytest.approx(expected, abs=3 * error * math.sqrt(2))

    assert float(ratio.mean()) == pytest.approx(mean, abs=0.005)
    close((ratio < 0.5).double().mean(), half, 1000)
    close(measured["rate"].mean(), rate, 1000)
    others = rule.measure(nearest(data.train, data.train, 51)[:, 1:])
    close(others["rate"].mean(), left_out, n)
    scale = data.train.std(0)
    found = rule.measure(nearest(data.held_out / scale, data.train / scale, 50))
    close(found["rate"].mean(), standardised, 1000)


def test_training_sets_are_nested(first_point):
    """The first models are the same for every N, and so is the truth, their average."""
    sets = []
    for n in (50, 200):
        fields = first_point.data.dataset.model_copy(update={"n_train": n, "n_held_out": 1})
        data = first_point.data.model_copy(update={"dataset": fields}).load(Streams(42, "data"))
        sets.append(data.train)
    assert torch.equal(sets[0], sets[1][:50])
    assert first_point.observation.truth.indices == (0, 1, 2)
    published = torch.tensor([-3.6666, 1.5223, 1.5312, 1.7740]).double()
    assert torch.allclose(sets[0][0, :4], published, atol=1e-4)


@pytest.mark.parametrize("name", STUDIES)
def test_samplers_share_random_numbers_across_priors(name):
    spec = load(CONFIGS / f"{name}.yaml")[0].points[0].spec
    for metric in spec.metrics:
        for learned, counterpart in getattr(metric, "counterparts", ()):
            assert spec.samplers[learned] == spec.samplers[counterpart]
            assert spec.samplers[learned].start.type in ("standard_normal", "noise")
            assert spec.n_samples(learned) >= spec.n_samples(counterpart)
    assert spec.dtype == "complex64"


def test_the_published_rule_is_as_published(first_point):
    sampler = first_point.samplers["learned_paper"]
    assert sampler.rule == UnitGradient(step_length=0.07)
    assert (sampler.steps, sampler.t_min, sampler.solver) == (200, 0.005, DDIM())
    level = sampler.schedule.level(1.0)
    assert float(level.a) ** 2 == pytest.approx(0.1322, abs=1e-4)
    assert len(sampler.save.times) == 20  # every ten steps
    assert isinstance(first_point.samplers["learned_gauss_newton"], GaussNewtonDPS)


def test_the_quick_path_is_as_long_as_the_full_one(first_point):
    quick = load(CONFIGS / "fwi_quick.yaml")[0].points[0].spec.samplers["learned_paper"]
    full = first_point.samplers["learned_paper"]
    assert quick.steps * quick.rule.step_length == full.steps * full.rule.step_length
