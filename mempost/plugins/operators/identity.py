"""The identity F(x) = x, with J = I: denoising, and a place-holder in compositions."""

from __future__ import annotations

import torch
from torch import Tensor

from mempost.core.operator import ForwardOperator
from mempost.methods.diagonal import diagonal_product


class Identity(ForwardOperator):
    """The identity, F(x) = x, for models of any shape."""

    tags = frozenset({"linear"})

    def forward(self, x: Tensor) -> Tensor:
        return x

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self(x), diagonal_product(torch.ones_like(x).flatten(1), basis)
