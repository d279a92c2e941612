"""Products with diagonal Jacobians, which elementwise operators have: J = diag(g)."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor


def diagonal_product(
    diagonal: Shaped[Tensor, "batch d"], basis: Shaped[Tensor, "#batch d k"] | None
) -> Shaped[Tensor, "batch d k"]:
    """diag(g) B; the matrix diag(g) itself where B is None."""
    if basis is None:
        return torch.diag_embed(diagonal)
    return diagonal.unsqueeze(-1) * basis
