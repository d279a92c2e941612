"""Independent draws from a known distribution, training and held-out ones from separate streams.

Examples are drawn in tiles, tile k of the training set from (seed, k, step 0) and tile k of the
held-out set from (seed, k, step 1). So the first N examples of either set do not depend on N, nor
on the size of the other set.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from pydantic import Field
from torch import Tensor

from mempost.core.dataset import Data, Dataset
from mempost.core.streams import Stream, Streams, draw_tiled


class IndependentDraws(Dataset):
    """A dataset that is drawn; authors override ``draws``."""

    tags = frozenset({"random"})
    n_train: int = Field(100, ge=1, le=10_000_000, description="number of training examples")
    n_held_out: int = Field(100, ge=0, le=10_000_000, description="number of held-out examples")

    @abstractmethod
    def draws(self) -> Callable[[Stream], Tensor]:
        """A function that draws one tile of examples, (TILE, *shape), in float64."""

    def load(self, streams: Streams) -> Data:
        draw = self.draws()
        train = draw_tiled(self.n_train, streams, draw)
        held_out = draw_tiled(max(1, self.n_held_out), streams, draw, step=1)
        return Data(train, held_out[: self.n_held_out])
