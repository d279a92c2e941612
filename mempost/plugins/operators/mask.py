"""Masks: F(x) = P x, where the rows of P are rows of the identity; inpainting and subsampling.

P selects entries, so that P P^T = I, and P^T fills the hidden entries with zeros.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor

from mempost.core.operator import ForwardOperator, Shape
from mempost.core.tables import table
from mempost.methods.geometry.mask_patterns import Pattern

MAX_SIZE = 2**27


class Mask(ForwardOperator):
    """Keeps some entries of an image, listed by index or left by a named pattern.

    The data are a vector: with ``keep``, in the order of the list; with ``pattern``, in row-major
    order. A pattern covers the last two axes of ``shape`` (of a signal, its only one) and is the
    same for all channels before them.
    """

    tags = frozenset({"linear"})
    shape: tuple[PositiveInt, ...] = Field(
        min_length=1, description="of one image", examples=[(6, 5)]
    )
    keep: tuple[NonNegativeInt, ...] | None = Field(
        None, min_length=1, description="row-major indices of the entries kept"
    )
    pattern: Pattern | None = Field(
        None, description="which pixels are hidden", examples=[{"type": "box", "size": 2}]
    )

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if (self.keep is None) == (self.pattern is None):
            raise ValueError("give either keep or pattern")
        size = math.prod(self.shape)
        if size > MAX_SIZE:
            raise ValueError(f"shape should hold at most {MAX_SIZE} entries, found {size}")
        if self.keep is not None:
            if max(self.keep) >= size:
                raise ValueError(
                    f"keep holds {max(self.keep)}; allowed are 0 to {size - 1} "
                    f"for shape {self.shape}"
                )
            if len(set(self.keep)) < len(self.keep):
                raise ValueError("keep holds an index twice")
        elif len(self.kept) == 0:
            raise ValueError(f"the pattern hides all of shape {self.shape}")
        return self

    @property
    def kept(self) -> np.ndarray:
        """Row-major indices of the entries kept, (m,)."""
        if self.keep is not None:
            return np.array(self.keep)
        assert self.pattern is not None
        hidden = self.pattern.hidden(self.shape[-2:])
        return np.flatnonzero(~np.broadcast_to(hidden, self.shape))

    @property
    def domain_shape(self) -> Shape:
        return self.shape

    def range_shape(self, domain_shape: Shape) -> Shape:
        return (len(self.kept),)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).index_select(1, self._indices(x))

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if basis is None:
            basis = torch.eye(math.prod(self.shape), dtype=x.dtype, device=x.device)[None]
        return self(x), basis.index_select(1, self._indices(x)).expand(len(x), -1, -1)

    def _indices(self, x: Tensor) -> Tensor:
        return _kept(self, dtype=torch.int64, device=x.device)


@table
def _kept(mask: Mask) -> np.ndarray:
    return mask.kept
