"""Coordinates of a prior: x_raw = location + scale * x, elementwise.

A prior that is fitted to standardised data lives in standardised coordinates x; the operator
``standardise`` maps back to raw ones, and metrics may ask for either.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Coordinates:
    """An affine map between a prior's coordinates and the raw ones, both (..., d)."""

    location: Tensor
    scale: Tensor

    @classmethod
    def identity(cls, d: int, like: Tensor) -> Coordinates:
        return cls(like.new_zeros(d), like.new_ones(d))

    @classmethod
    def standardising(cls, x: Tensor) -> Coordinates:
        """Mean and standard deviation (ddof = 1, plus 1e-5) of the training set x (N, d)."""
        scale = x.std(0) if len(x) > 1 else torch.zeros_like(x[0])
        return cls(x.mean(0), scale + 1e-5)

    def to_raw(self, x: Tensor) -> Tensor:
        return self.location + self.scale * x

    def from_raw(self, x_raw: Tensor) -> Tensor:
        return (x_raw - self.location) / self.scale
