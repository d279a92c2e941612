"""Small training sets, quick settings and a shelf in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mempost.core.prior import State
from mempost.core.streams import Streams
from mempost.methods.score_matching.fitted import FittedScore
from mempost.plugins.priors.learned_score import LearnedScore

TRAINING = Streams(3, "training")
QUICK: dict[str, Any] = {
    "network": {"type": "mlp", "width": 24, "hidden": 2, "embedding": 8},
    "steps": 60,
    "batch": 32,
    "sample_steps": 6,
}
"""A network that learns little and takes no time."""


def points(n: int = 6, d: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return 2 * Streams(11, "data").at().normal((n, d), dtype)


def fitted(x: Tensor | None = None, **hyper: Any) -> FittedScore:
    prior = LearnedScore.model_validate({**QUICK, **hyper})
    found = prior.fit(points() if x is None else x, streams=TRAINING)
    assert isinstance(found, FittedScore)
    return found


class MemoryShelf:
    """Keeps states in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, State] = {}
        self.saves = 0

    def load(self, name: str) -> State | None:
        return self.kept.get(name)

    def save(self, name: str, state: State) -> None:
        self.saves += 1
        self.kept[name] = state

    def drop(self, name: str) -> None:
        self.kept.pop(name, None)

    def mark(self, name: str) -> None:
        pass
