"""Elementwise polynomials, F(x) = sum_k c_k x^k, with J = diag(sum_k k c_k x^(k-1)).

Both sums are formed by Horner's rule. The map x + 0.3 x^3 is the one-dimensional forward map of
Figure 1 (a-c) of Siahkoohi & Sabeddu 2026, "On the role of memorization in learned priors for
geophysical inverse problems".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from mempost.core.arrays import Vector
from mempost.core.operator import ForwardOperator
from mempost.core.tags import Tag
from mempost.methods.diagonal import diagonal_product


class Polynomial(ForwardOperator):
    """An elementwise polynomial; coefficients [0, 1, 0, 0.3] are x + 0.3 x^3."""

    coefficients: Vector = Field(
        description="c_0, c_1, ..., constant term first", examples=[[0.0, 1.0, 0.0, 0.3]]
    )

    def _tags(self) -> frozenset[Tag]:
        """Linear if the degree is at most 1."""
        return frozenset() if self.coefficients.numpy()[2:].any() else frozenset({"linear"})

    def forward(self, x: Tensor) -> Tensor:
        return _horner([*self.coefficients.tolist(), 0.0], x)  # a constant too is a function of x

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        derivative = [k * c for k, c in enumerate(self.coefficients.tolist())][1:]
        return self(x), diagonal_product(_horner(derivative or [0.0], x).flatten(1), basis)


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """c_0 + x (c_1 + x (c_2 + ...))."""
    value = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = c + x * value
    return value
