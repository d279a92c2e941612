"""A prior with the training data and states of its checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior, Prior
from mempost.core.streams import Streams
from mempost.testing.check import Catalogue

LEVELS = (NoiseLevel(1.0, 0.3), NoiseLevel(0.8, 0.6), NoiseLevel(0.2, 0.98))
"""One variance-exploding level and two variance-preserving ones."""


@dataclass(frozen=True, eq=False)
class PriorCase:
    """A prior, and training data (N, *shape) where the eight points by default do not suit it."""

    plugin: Prior
    given_data: Tensor | None = None

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @property
    def data(self) -> Tensor | None:
        if self.given_data is not None or not self.plugin.needs_data:
            return self.given_data
        return Streams(0, "data").at().normal((8, 2))

    def fit(self, seed: int = 0, dtype: torch.dtype | None = None) -> FittedPrior:
        data = self.data if self.data is None else self.data.to(dtype or self.data.dtype)
        return self.plugin.fit(data, streams=Streams(seed, "training"))

    @cached_property
    def fitted(self) -> FittedPrior:
        return self.fit()

    @cached_property
    def scale(self) -> float:
        """Size of a typical x about the mean."""
        x = self.fitted.sample(256, Streams(0, "sampling"))
        return max(float((x - x.mean(0)).square().mean().sqrt()), 1e-3)

    def pairs(self, level: NoiseLevel, n: int = 6) -> tuple[Tensor, Tensor]:
        """Draws x of the prior and z = a x + s e."""
        x = self.fitted.sample(n, Streams(0, "sampling"))
        return x, level.perturb(x, Streams(0, "noise").at())

    def states(self, level: NoiseLevel, n: int = 6) -> Tensor:
        return self.pairs(level, n)[1]


CHECKS: Catalogue[PriorCase] = Catalogue("prior", PriorCase)
