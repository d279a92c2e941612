"""Datasets: a training set, and held-out examples from the same source.

A memorization number means nothing without its control: held-out examples that the prior has never
seen. So every dataset gives both, and the first N training examples do not depend on N.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mempost.core.plugin import Plugin
from mempost.core.streams import Streams


@dataclass(frozen=True, eq=False)
class Data:
    """Training examples (N, *shape) and held-out ones (M, *shape; M may be 0)."""

    train: Float[Tensor, "n *shape"]
    held_out: Float[Tensor, "m *shape"]


class Dataset(Plugin, ABC):
    """A source of examples; authors override ``load``."""

    @abstractmethod
    def load(self, streams: Streams) -> Data:
        """Training and held-out examples in float64 on the CPU."""
