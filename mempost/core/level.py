"""Noise on the state: z = a x + s e with e ~ N(0, I). VE has a = 1, VP has a^2 + s^2 = 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.streams import Stream


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """z = a x + s e; ``a`` and ``s`` are scalars or one per sample, shape (batch,)."""

    a: float | Tensor
    s: float | Tensor

    def columns(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``a`` and ``s`` as tensors that broadcast against z (batch, d): (1, 1) or (batch, 1)."""
        return _column(self.a, z), _column(self.s, z)

    def perturb(self, x: Float[Tensor, "batch d"], stream: Stream) -> Float[Tensor, "batch d"]:
        """Draw z = a x + s e."""
        a, s = self.columns(x)
        return a * x + s * stream.normal(tuple(x.shape), x.dtype, x.device)


CLEAN = NoiseLevel(1.0, 0.0)
"""No noise: z = x."""


def _column(value: float | Tensor, z: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=z.dtype, device=z.device)
    return tensor.reshape(-1, 1)
