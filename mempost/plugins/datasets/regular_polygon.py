"""Corners of a regular polygon, x_k = radius (cos(2 pi k/n), sin(2 pi k/n)), k = 0..n - 1.

With n = 5 and radius 2 these are the training data of Figure 1 (d-f) of Siahkoohi & Sabeddu 2026,
"On the role of memorization in learned priors for geophysical inverse problems".
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from mempost.core.dataset import Data, Dataset
from mempost.core.streams import Streams


class RegularPolygon(Dataset):
    """The corners of a regular polygon around the origin, the first at angle 0.

    Held out are the corners of the same polygon turned by half a corner.
    """

    n: int = Field(5, ge=1, le=1_000_000, description="number of corners")
    radius: float = Field(2.0, gt=0)

    def load(self, streams: Streams) -> Data:
        return Data(self._corners(0.0), self._corners(0.5))

    def _corners(self, turn: float) -> Tensor:
        angle = 2 * math.pi / self.n * (torch.arange(self.n, dtype=torch.float64) + turn)
        return self.radius * torch.stack([torch.cos(angle), torch.sin(angle)], -1)
