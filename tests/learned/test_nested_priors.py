"""Priors over priors: stored, moved, counted, and their bases trained once."""

from __future__ import annotations

import json
from typing import Annotated, ClassVar

import pytest
import torch
from learned_problems import QUICK, TRAINING, MemoryShelf, points
from pydantic import Field, ValidationError

import mempost
from mempost import CompositePrior, FittedComposite, FittedPrior, NoiseLevel, PluginField, Prior
from mempost.core.counters import counting
from mempost.core.errors import PluginError
from mempost.core.keeping import keeping
from mempost.core.prior import State
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.methods.score_matching.training import Training
from mempost.plugins.priors.learned_score import LearnedScore

LEARNED = {"type": "learned_score", **QUICK}
LEVEL = NoiseLevel(0.8, 0.6)


class FittedBlend(FittedComposite):
    def __init__(self, one, other, share):
        super().__init__({"one": one, "other": other})
        self.share = share

    def _denoise(self, z, a, s):
        level = NoiseLevel(a[:, 0], s[:, 0])
        one, other = (part.denoise(z, level) for part in self.parts.values())
        return self.share * one + (1 - self.share) * other

    def _draw(self, stream):
        return self.parts["one"].draw_tile(stream)

    def _state(self):
        return State({"share": self.share}, {"note": "a blend"})

    @classmethod
    def _from_state(cls, state):
        assert state.values["note"] == "a blend" and isinstance(state.values["shape"], tuple)
        return cls(state.values["one"], state.values["other"], state.tensors["share"])


class Blend(CompositePrior):
    """A weighted mean of two denoisers."""

    fitted_class: ClassVar[type[FittedPrior]] = FittedBlend
    tags = frozenset({"closed_form"})
    one: Annotated[Prior, PluginField("prior")]
    other: Annotated[Prior, PluginField("prior")]
    share: float = Field(0.5, ge=0, le=1)

    def _compose(self, parts, x, streams):
        like = parts["one"].coordinates.location
        return FittedBlend(*parts.values(), like.new_tensor(self.share))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(REGISTRIES["prior"]._local, "blend", Blend)


@pytest.fixture
def trainings(monkeypatch):
    """The trainings that are run."""
    found = []
    run = Training.run

    def counted(self, *arguments):
        found.append(self)
        return run(self, *arguments)

    monkeypatch.setattr(Training, "run", counted)
    return found


def blend(**hyper):
    inner = {"type": "blend", "one": LEARNED, "other": {"type": "empirical_gmm", "bandwidth": 0.5}}
    return Blend.model_validate({"one": inner, "other": LEARNED, **hyper})


def test_what_is_nested_is_stored_and_moved():
    recipe = blend(standardise=True)
    prior = recipe.fit(points(), streams=TRAINING)
    tensors, values = prior.state()
    assert {"share", "coordinates.scale", "other/centre", "one/share", "one/one/centre"} <= set(
        tensors
    )
    again = recipe.restore(State(tensors, json.loads(json.dumps(values))))
    z = 2 * prior.sample(40, Streams(0, "sampling"))
    assert torch.equal(again.denoise(z, LEVEL), prior.denoise(z, LEVEL))
    assert torch.equal(again.coordinates.scale, prior.coordinates.scale)
    assert again.parts["one"].parts["one"].network == prior.parts["one"].parts["one"].network
    single = prior.to(dtype=torch.float32)
    assert single.share.dtype == single.parts["one"].parts["one"].dtype == torch.float32
    torch.testing.assert_close(
        single.denoise(z.float(), LEVEL).double(), prior.denoise(z, LEVEL), atol=1e-4, rtol=1e-4
    )


def test_it_is_the_blend_of_what_its_parts_are_alone():
    x = points()
    learned = LearnedScore.model_validate(QUICK).fit(x, streams=TRAINING)
    kernel = REGISTRIES["prior"].get("empirical_gmm")(bandwidth=0.5).fit(x)
    prior = blend(share=0.25).fit(x, streams=TRAINING)
    z = 2 * learned.sample(10, Streams(0, "sampling"))
    inner = (learned.denoise(z, LEVEL) + kernel.denoise(z, LEVEL)) / 2
    expected = 0.25 * inner + 0.75 * learned.denoise(z, LEVEL)
    torch.testing.assert_close(prior.denoise(z, LEVEL), expected)
    with counting() as counts:
        prior.denoise(z, LEVEL)
    assert counts["denoiser_calls"] == 3 * 10  # two networks and a kernel


def test_a_base_is_trained_once(trainings):
    x, shelf = points(), MemoryShelf()
    with keeping(shelf):
        alone = LearnedScore.model_validate(QUICK).fit_once(x, streams=TRAINING)
        blends = [blend(share=share).fit_once(x, streams=TRAINING) for share in (0.2, 0.8)]
        again = blend(share=0.2).fit_once(x, streams=TRAINING)
    assert len(trainings) == 1
    z = 2 * alone.sample(10, Streams(0, "sampling"))
    assert torch.equal(blends[0].parts["other"].denoise(z, LEVEL), alone.denoise(z, LEVEL))
    assert torch.equal(again.denoise(z, LEVEL), blends[0].denoise(z, LEVEL))
    with keeping(shelf):
        LearnedScore.model_validate(QUICK).fit_once(x + 1, streams=TRAINING)
        LearnedScore.model_validate(QUICK).fit_once(x, streams=Streams(4, "training"))
        LearnedScore.model_validate({**QUICK, "steps": 61}).fit_once(x, streams=TRAINING)
    assert len(trainings) == 4


def test_tags_and_needs_follow_the_bases():
    recipe = blend()
    assert "random" in recipe.tags and "closed_form" not in recipe.tags and recipe.needs_data
    gaussian = {"type": "gaussian", "mean": [0.0, 1.0], "covariance": [[1.0, 0.0], [0.0, 1.0]]}
    closed = Blend.model_validate({"one": gaussian, "other": gaussian})
    assert "closed_form" in closed.tags and "random" not in closed.tags and not closed.needs_data
    z = torch.ones(3, 2).double()
    one = closed.one.fit()
    assert torch.equal(closed.fit().denoise(z, LEVEL), one.denoise(z, LEVEL))


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValidationError, match="other has standardise: true; coordinates are those"):
        blend(other={**LEARNED, "standardise": True})
    gaussian = {"type": "gaussian", "mean": [0.0], "covariance": [[1.0]]}
    with pytest.raises(PluginError, match=r"other has shape \(1,\) and another part \(3,\)"):
        blend(other=gaussian).fit(points(), streams=TRAINING)


def test_a_study_trains_a_base_once_for_all_that_stand_on_it(trainings, tmp_path):
    spec = {
        "title": "nested",
        "data": {"type": "points", "values": points().tolist()},
        "prior": LEARNED,
        "priors": {"b": {"type": "blend", "one": LEARNED, "other": LEARNED}},
        "operator": {"type": "identity"},
        "noise": {"std": 0.5},
        "observation": {"truth": {"type": "train", "indices": [0]}},
        "samplers": {k: {"type": "pigdm", "steps": 3} for k in "ab"},
        "samples": 8,
        "sweep": {"priors.b.share": [0.3, 0.6]},
    }
    study = mempost.run(spec, out=tmp_path)
    assert study.ok and len(trainings) == 1
    assert len(list(tmp_path.glob("kept/prior-*"))) == 3  # the network and two blends
    shares = [r.problem.prior.share for r in study.results if r.key == "b"]
    assert [round(float(s), 1) for s in shares] == [0.3, 0.6]
