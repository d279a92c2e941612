"""At its defaults the learned prior memorizes fifty velocity models (a minute of training)."""

from __future__ import annotations

import pytest
import torch

from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.plugins.metrics.nearest_neighbour import nearest
from mempost.plugins.priors.learned_score import LearnedScore


@pytest.mark.slow
def test_fifty_velocity_models_are_memorized_by_the_x0_form():
    projected = REGISTRIES["dataset"].get("projected")
    data = projected.model_validate(
        {
            "dataset": {
                "type": "gaussian_random_field",
                "variant": "reference",
                "n": 64,
                "n_train": 50,
                "n_held_out": 200,
            },
            "operator": {"type": "kl_cosine", "shape": [64, 64]},
        }
    ).load(Streams(42, "data"))
    train, held_out = data.train.float(), data.held_out.float()
    prior = LearnedScore(standardise=True).fit(train, streams=Streams(42, "training"))
    x = prior.coordinates.to_raw(prior.sample(384, Streams(42, "sampling")))

    def ratio(queries: torch.Tensor) -> torch.Tensor:
        d = nearest(queries, train, 50)
        return d[:, 0] / d[:, 1:].mean(1)

    null = float(ratio(held_out).median())
    assert 0.55 < null < 0.65
    assert float(ratio(x).median()) < 0.1 < null / 2
    assert nearest(train, x, 1).median() < 1.0  # most of the models are found
