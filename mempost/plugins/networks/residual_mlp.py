"""The residual perceptron of the mempost paper.

    h = GELU(W_in [x, phi(clock)]),    h <- h + GELU(LayerNorm(W h))  block by block,    W_out h

The paper has 12 blocks of width 2048 and 256 features; the defaults here suit a laptop.

Reference: Siahkoohi & Sabeddu 2026, "On the role of memorization in learned priors for geophysical
inverse problems".
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu

from mempost.core.network import Network, dimension
from mempost.methods.score_matching.embedding import sinusoidal


class ResidualMLP(Network):
    """Blocks x + GELU(LayerNorm(Linear(x))) of one width."""

    width: int = Field(512, ge=1)
    blocks: int = Field(4, ge=0)
    embedding: int = Field(64, ge=2, multiple_of=2, description="features of the noise level")

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        return _ResidualMLP(self, dimension(shape))


class _ResidualMLP(nn.Module):
    def __init__(self, recipe: ResidualMLP, d: int) -> None:
        super().__init__()
        self.embedding = recipe.embedding
        self.first = nn.Linear(d + recipe.embedding, recipe.width)
        self.linears = nn.ModuleList(
            nn.Linear(recipe.width, recipe.width) for _ in range(recipe.blocks)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(recipe.width) for _ in range(recipe.blocks))
        self.last = nn.Linear(recipe.width, d)

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        h = gelu(self.first(torch.cat([x, sinusoidal(clock, self.embedding)], -1)))
        for linear, norm in zip(self.linears, self.norms):
            h = h + gelu(norm(linear(h)))
        return self.last(h)
