"""Equispaced points on a line, thinned to n of them: the data of the effective-modes study.

A pool of P points x_j = low + j (high - low)/(P - 1) is thinned to the indices
floor(i (P - 1)/(n - 1)), i = 0..n - 1. With the pool of 100 points on [-3, 3] this is the setting
in which the number of effective posterior modes is followed over the bandwidth.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator

from mempost.core.dataset import Data, Dataset
from mempost.core.streams import Streams


class Equispaced(Dataset):
    """Points spread evenly over an interval, both ends included.

    The subset of the pool is spread anew for every ``n``, so unlike elsewhere the training sets of
    two ``n`` are not nested. Held out are the midpoints between neighbours of the pool, which no
    training set holds.
    """

    low: float = -3.0
    high: float = 3.0
    pool: int = Field(100, ge=2, le=1_000_000, description="number of points to choose from")
    n: int = Field(5, ge=2, description="number of training examples")

    @model_validator(mode="after")
    def _within_pool(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low should be below high, found {self.low} and {self.high}")
        if self.n > self.pool:
            raise ValueError(f"n should be at most the pool's {self.pool}, found {self.n}")
        return self

    def load(self, streams: Streams) -> Data:
        pool = np.linspace(self.low, self.high, self.pool)
        chosen = np.arange(self.n) * (self.pool - 1) // (self.n - 1)
        midpoints = pool[:-1] / 2 + pool[1:] / 2
        return Data(torch.from_numpy(pool[chosen, None]), torch.from_numpy(midpoints[:, None]))
