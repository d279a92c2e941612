"""How it is learned: levels, optimiser, interruption, failures."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from learned_problems import QUICK, TRAINING, MemoryShelf, fitted, points
from pydantic import ValidationError
from scipy import stats

from mempost.core.errors import NonFiniteError
from mempost.core.fields import PluginField
from mempost.core.keeping import keeping
from mempost.core.streams import Streams
from mempost.methods.score_matching import training
from mempost.methods.score_matching.denoiser import Denoiser, scales_of
from mempost.methods.score_matching.levels import (
    LogNormalLevels,
    TrainingLevels,
    UniformTimes,
)
from mempost.plugins.priors.learned_score import LearnedScore

SCHEDULES: list[dict[str, Any]] = [
    {"type": "ve", "sigma_min": 0.01, "sigma_max": 40.0},
    {"type": "edm"},
    {"type": "vp"},
    {"type": "vp_discrete"},
    {"type": "cosine"},
    {"type": "flow_matching"},
]


def schedule(values: dict[str, Any]) -> Any:
    return PluginField("schedule").make(values)


def draws(levels: TrainingLevels, n: int = 4096) -> torch.Tensor:
    return levels.draw(n, TRAINING.at(0, 0))


# -- noise levels -------------------------------------------------------------------------------


def test_levels_of_a_variance_exploding_schedule_are_log_uniform():
    sigma = draws(TrainingLevels(schedule(SCHEDULES[0]), UniformTimes()))
    position = (sigma / 0.01).log() / math.log(4000)
    assert stats.kstest(position.numpy(), "uniform").statistic < 1e-3  # stratified: 1/n


def test_log_normal_levels_are_cut_at_the_ends_of_the_schedule():
    levels = TrainingLevels(schedule(SCHEDULES[0]), LogNormalLevels(mean=0.5, std=2.0))
    law = stats.truncnorm((math.log(0.01) - 0.5) / 2, (math.log(40.0) - 0.5) / 2, 0.5, 2.0)
    assert stats.kstest(draws(levels).log().numpy(), law.cdf).statistic < 1e-3


@pytest.mark.parametrize("values", SCHEDULES, ids=lambda v: v["type"])
@pytest.mark.parametrize("times", [UniformTimes(), LogNormalLevels()], ids=lambda t: t.type)
def test_no_level_falls_into_a_gap(values, times):
    whole = TrainingLevels(schedule(values), times)
    gap = (0.3, 1.1)
    levels = TrainingLevels(schedule(values), times, skip=(gap,))
    sigma = draws(levels)
    assert not ((sigma > gap[0]) & (sigma < gap[1])).any()
    assert (sigma < gap[0]).any() and (sigma > gap[1]).any()
    everywhere = draws(whole, 100_000)
    kept = everywhere[(everywhere <= gap[0]) | (everywhere >= gap[1])]
    assert stats.kstest(sigma.numpy(), kept.numpy()).statistic < 2e-3  # the law without the gap


def test_intervals_are_joined_cut_and_named():
    ve = schedule(SCHEDULES[0])
    given = ((0.5, 2.0), (0.001, 0.1), (1.0, 3.0))
    levels = TrainingLevels(ve, UniformTimes(), given, skip=((0.6, 0.7), (2.5, 9.0)))
    expected = ((0.01, 0.1), (0.5, 0.6), (0.7, 2.5))
    assert [pytest.approx(pair) for pair in expected] == list(levels.intervals)
    assert (levels.low, levels.high) == (pytest.approx(0.01), 2.5)
    with pytest.raises(ValidationError, match="no noise level is left"):
        LearnedScore(skip=((0.001, 100.0),))
    with pytest.raises(ValidationError, match="runs from 2 to 1"):
        LearnedScore(train_on=((2.0, 1.0),))
    with pytest.raises(ValidationError, match="sigma = 0 at t = 0"):
        LearnedScore.model_validate(
            {"schedule": {"type": "vp"}, "times": {"type": "uniform", "t_min": 0}}
        )


def test_the_discrete_schedule_starts_at_its_first_step():
    levels = TrainingLevels(schedule(SCHEDULES[3]), UniformTimes())
    assert levels.low == pytest.approx(math.sqrt(1e-4 / (1 - 1e-4)))
    assert levels.high == pytest.approx(math.sqrt(1 / 0.13218 - 1), rel=1e-3)  # abar_T = .1322


def test_training_never_visits_the_gap(monkeypatch):
    seen: list[torch.Tensor] = []
    inside = Denoiser.inside

    def watched(self, u, sigma):
        seen.append(sigma)
        return inside(self, u, sigma)

    monkeypatch.setattr(Denoiser, "inside", watched)
    prior = fitted(skip=((0.2, 3.0),))
    sigma = torch.cat(seen)
    assert sigma.numel() == QUICK["steps"] * QUICK["batch"]
    assert not ((sigma > 0.2 + 1e-9) & (sigma < 3.0 - 1e-9)).any()
    error = prior.history.curves["level_error"]
    inner = (prior.history.edges[:-1] > 0.2) & (prior.history.edges[1:] < 3.0)
    assert error[:, inner].isnan().all() and not error[:, ~inner].isnan().all(0).any()


# -- optimiser ------------------------------------------------------------------------------------


def trainer(**hyper: Any) -> training.Training:
    prior = LearnedScore.model_validate({**QUICK, **hyper})
    x = points()
    network = prior.network.initialised((3,), TRAINING.at(1), x)
    denoiser = Denoiser(network, "x0", *scales_of(x), prior.levels.low, prior.levels.high)
    return training.Training(prior, denoiser, x)


def weights(run: training.Training) -> list[torch.Tensor]:
    return [w.detach().clone() for w in run.denoiser.network.parameters()]


def test_the_learning_rate_is_half_a_cosine():
    prior = LearnedScore(steps=101, learning_rate=1e-2, final_learning_rate=1e-4)
    rates = [training.learning_rate(prior, k) for k in range(101)]
    assert rates[0] == pytest.approx(1e-2) and rates[100] == pytest.approx(1e-4)
    assert rates[50] == pytest.approx((1e-2 + 1e-4) / 2)
    assert rates[25] == pytest.approx(1e-4 + 0.99e-2 * (1 + math.sqrt(0.5)) / 2)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    run = trainer(learning_rate=1e-3, clip=None)
    before = weights(run)
    run._advance(TRAINING.at(0, 0))
    for old, new, w in zip(before, weights(run), run.denoiser.network.parameters()):
        moved = w.grad.abs() > 1e-4  # Adam's epsilon is 1e-8
        assert torch.allclose((new - old)[moved].abs(), old.new_tensor(1e-3), rtol=1e-3)


def test_clipping_bounds_the_norm_of_the_gradient():
    free, clipped = trainer(clip=None), trainer(clip=0.01)
    for run in (free, clipped):
        run._advance(TRAINING.at(0, 0))
    raw, cut = (
        torch.cat([w.grad.flatten() for w in run.denoiser.network.parameters()])
        for run in (free, clipped)
    )
    assert float(raw.norm()) > 0.01
    torch.testing.assert_close(cut, raw * 0.01 / raw.norm(), rtol=1e-4, atol=0)


def test_averaged_weights_are_the_weighted_sum_of_all_weights():
    run = trainer(ema=0.9)
    expected = weights(run)
    for k in range(1, 31):
        run._advance(TRAINING.at(0, k - 1))
        decay = min(0.9, (1 + k) / (10 + k))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, weights(run))]
    for found, value in zip(run.average.values(), expected):
        torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12)


# -- determinism, interruption ------------------------------------------------------------------


class Killed(Exception):
    pass


def same(first, second) -> bool:
    a, b = first.state(), second.state()
    equal = all(
        torch.equal(a.tensors[k].nan_to_num(), b.tensors[k].nan_to_num()) for k in a.tensors
    )
    return a.tensors.keys() == b.tensors.keys() and equal and a.values == b.values


def test_the_seed_decides_and_nothing_else():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fitted()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(first, fitted())
    other = LearnedScore.model_validate(QUICK).fit(points(), streams=Streams(4, "training"))
    assert not same(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_killed_run_is_taken_up_to_the_same_bits(monkeypatch, dtype):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    hyper = {**QUICK, "snapshots": [10, 50], "steps": 60}
    prior, x = LearnedScore.model_validate(hyper), points(dtype=dtype)
    straight = prior.fit(x, streams=TRAINING)
    shelf, done = MemoryShelf(), []

    def kill_at(step):
        def progress(done_, total, note=""):
            done.append(done_)
            if done_ == step:
                raise Killed

        return progress

    with keeping(shelf):
        for step in (20, 45):
            with pytest.raises(Killed):
                prior.fit(x, streams=TRAINING, progress=kill_at(step))
        resumed = prior.fit(x, streams=TRAINING, progress=kill_at(None))
    assert done == [*range(1, 21), *range(21, 46), *range(46, 61)]
    assert same(straight, resumed)


def test_checkpoints_are_dropped_at_the_end_unless_snapshots_are_wanted(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    shelf = MemoryShelf()
    with keeping(shelf):
        fitted()
        assert shelf.saves > 0 and not shelf.kept
        late = fitted(snapshots=(10, 60))
        assert len(shelf.kept) == 1
        saves = shelf.saves
        early = fitted(snapshots=(10, 60), snapshot=10)
        assert shelf.saves == saves + 1  # trained once
    z = points(2, 3)
    level = training_level()
    assert not torch.equal(early.denoise(z, level), late.denoise(z, level))
    assert torch.equal(late.at_step(10).denoise(z, level), early.denoise(z, level))
    assert torch.equal(late.at_step(60).denoise(z, level), late.denoise(z, level))


def training_level():
    from mempost.core.level import NoiseLevel

    return NoiseLevel(1.0, 0.5)


def test_another_seed_data_set_or_recipe_has_another_name():
    prior, x = LearnedScore.model_validate(QUICK), points()
    names = {
        prior._name(x, (3,), TRAINING),
        prior._name(x, (3, 1), TRAINING),
        prior._name(x + 1e-12, (3,), TRAINING),
        prior._name(x, (3,), Streams(4, "training")),
        prior.model_copy(update={"steps": 61})._name(x, (3,), TRAINING),
    }
    assert len(names) == 5
    again = prior.model_copy(update={"sample_steps": 9})
    assert again._name(x, (3,), TRAINING) in names


# -- failures, progress -------------------------------------------------------------------------


def test_a_nan_names_the_step_and_keeps_the_last_finite_weights(monkeypatch):
    inside = Denoiser.inside
    calls = []

    def planted(self, u, sigma):
        calls.append(1)
        mean = inside(self, u, sigma)
        if len(calls) == 7:
            mean = torch.where(torch.arange(len(u))[:, None] == 5, torch.nan, mean)
        return mean

    monkeypatch.setattr(Denoiser, "inside", planted)
    shelf = MemoryShelf()
    with keeping(shelf), pytest.raises(NonFiniteError) as caught:
        fitted()
    assert str(caught.value) == (
        "training loss is not finite at step 7, sample 5; take a smaller learning_rate"
    )
    ((name, kept),) = shelf.kept.items()
    assert name.endswith("-stopped") and kept.values == {"step": 6}
    assert kept.tensors == caught.value.state
    assert all(torch.isfinite(w).all() for w in kept.tensors.values())


def test_an_exploding_gradient_is_named():
    run = trainer()
    for w in run.denoiser.network.parameters():
        w.register_hook(lambda g: g / 0)
        break
    with pytest.raises(NonFiniteError, match="gradient is not finite at step 1"):
        run._advance(TRAINING.at(0, 0))


def test_progress_tells_loss_and_time_left():
    notes = []
    LearnedScore.model_validate(QUICK).fit(
        points(), streams=TRAINING, progress=lambda done, total, note="": notes.append((done, note))
    )
    assert notes[-1][0] == QUICK["steps"]
    assert all(note.startswith("loss ") and note.endswith(" s left") for _, note in notes)


def test_the_history_is_that_of_the_run():
    prior = fitted(steps=600, learning_rate=3e-3)
    curves = prior.history.curves
    assert curves["step"][-1] == 600 and len(curves["step"]) == 300
    assert curves["loss"][-30:].mean() < 0.5 * curves["loss"][:10].mean()
    assert curves["learning_rate"][0] > curves["learning_rate"][-1] == pytest.approx(1e-5)
    # the error of x0 output is its loss: the bins hold all samples, evenly
    torch.testing.assert_close(
        curves["level_error"].nanmean(1)[-50:].mean(), curves["loss"][-50:].mean(), rtol=0.1, atol=0
    )


def test_late_snapshots_are_refused():
    with pytest.raises(ValidationError, match="snapshots holds 70"):
        LearnedScore(steps=60, snapshots=(70,))
    with pytest.raises(ValidationError, match="snapshot is 3"):
        LearnedScore(snapshot=3)
