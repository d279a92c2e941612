"""Piecewise linear functions, elementwise: F(x) = a_i + b_i x for k_i <= x < k_(i+1).

The knots k_1 < ... < k_K cut the line into K + 1 pieces; a knot belongs to the piece on its right.
The pieces need not meet. The Jacobian is diag(b_i), at a knot that of the right piece.

Where every component of a memorized prior lies within one piece, up to negligible tails, the
linearised posterior is exact, while the slopes differ from component to component, and with them
the log-determinants in its weights.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import FrozenArray, Vector
from mempost.core.operator import ForwardOperator
from mempost.core.tables import constant
from mempost.methods.diagonal import diagonal_product


class PiecewiseLinear(ForwardOperator):
    """An elementwise piecewise linear function, which may jump at its knots.

    Knots [0], slopes [1, 5] and intercepts [2, -10] are x + 2 for x < 0 and 5 (x - 2) from 0 on.
    """

    knots: Vector = Field(description="K increasing numbers between the pieces", examples=[[0.0]])
    slopes: Vector = Field(
        description="slope of each of the K + 1 pieces, left to right", examples=[[1.0, 5.0]]
    )
    intercepts: Vector = Field(
        description="value at x = 0 of each piece's line", examples=[[2.0, -10.0]]
    )

    @model_validator(mode="after")
    def _pieces_fit(self) -> Self:
        knots = self.knots.numpy()
        if not (knots[1:] > knots[:-1]).all():
            raise ValueError("knots should increase strictly")
        pieces = len(self.knots) + 1
        for name, values in (("slopes", self.slopes), ("intercepts", self.intercepts)):
            if len(values) != pieces:
                raise ValueError(
                    f"{name} should hold {pieces} numbers, one more than there are knots, "
                    f"found {len(values)}"
                )
        return self

    def forward(self, x: Tensor) -> Tensor:
        piece = self._piece(x)
        return _like(self.intercepts, x)[piece] + _like(self.slopes, x)[piece] * x

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        slope = _like(self.slopes, x)[self._piece(x)]
        return self(x), diagonal_product(slope.flatten(1), basis)

    def _piece(self, x: Tensor) -> Tensor:
        """Index of the piece of every entry: the number of knots k <= x."""
        return torch.bucketize(x.contiguous(), _like(self.knots, x), right=True)


def _like(array: FrozenArray, x: Tensor) -> Tensor:
    return constant(array, dtype=x.dtype, device=x.device)
