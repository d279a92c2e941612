"""Draws that are wrong by a known amount."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from toy_posteriors import MEANS, problem

from mempost.core.problem import InverseProblem
from mempost.core.sampler import PosteriorSampler
from mempost.core.streams import Streams
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.distorted import Distorted
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.exact_lgm import ExactLGM

STREAMS = Streams(0, "sampling")


@pytest.mark.parametrize("h", [0.0, 0.4])
def test_scaled_about_the_exact_mean_and_shifted(h: float) -> None:
    p = problem(EmpiricalGMM(bandwidth=h).fit(MEANS))
    exact = ExactLGM().posterior(p)
    plain = ExactLGM().sample(p, 50, STREAMS).values
    found = Distorted(sampler=ExactLGM(), scale=0.8, shift=0.5).sample(p, 50, STREAMS).values
    expected = exact.mean() + 0.8 * (plain - exact.mean()) + 0.5 * exact.std()
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_moments_of_the_draws_where_there_is_no_closed_form() -> None:
    inner = DPS(rule="gaussian", steps=5)
    p = problem()
    plain = inner.sample(p, 64, STREAMS).flat
    found = Distorted(sampler=inner, scale=2.0, shift=1.0).sample(p, 64, STREAMS).flat
    torch.testing.assert_close(found.std(0), 2 * plain.std(0))
    torch.testing.assert_close(found.mean(0), plain.mean(0) + plain.std(0))


def test_nothing_to_distort() -> None:
    p = problem()
    plain = ExactLGM().sample(p, 9, STREAMS).values
    assert torch.allclose(Distorted(sampler=ExactLGM()).sample(p, 9, STREAMS).values, plain)
    one = Distorted(sampler=DPS(steps=2), shift=1.0).sample(p, 1, STREAMS).values
    assert bool(torch.isfinite(one).all())


class Parts(PosteriorSampler):
    """Counts its preparations."""

    @property
    def preparations(self) -> int:
        return 3

    def prepare(self, problem: InverseProblem, part: int, progress: object = None) -> None:
        raise ValueError(f"part {part}")

    def sample(self, *_: object) -> None:  # type: ignore[override]
        raise NotImplementedError


def test_passed_on_to_the_wrapped_sampler() -> None:
    wrapped, prior = Distorted(sampler=Parts()), problem().prior
    assert wrapped.preparations == 3 and wrapped.nfe(prior) is None
    assert wrapped.tags == {"interacting"}
    with pytest.raises(ValueError, match="part 2"):
        wrapped.prepare(problem(), 2)
    assert Distorted(sampler=ExactLGM()).tags == ExactLGM().tags
    spec = Distorted.model_validate({"sampler": {"type": "dps", "steps": 7}, "scale": 0.8})
    assert spec.nfe(prior) == DPS(steps=7).nfe(prior)
    with pytest.raises(ValidationError, match="No sampler has this name"):
        Distorted.model_validate({"sampler": {"type": "dpss"}})
