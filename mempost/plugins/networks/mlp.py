"""A plain multilayer perceptron on the state and the features of its noise level."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mempost.core.network import Network, dimension
from mempost.methods.score_matching.embedding import sinusoidal


class MLP(Network):
    """Layers of one width with a nonlinearity between, no shortcuts."""

    width: int = Field(256, ge=1)
    hidden: int = Field(3, ge=1, description="hidden layers")
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    embedding: int = Field(64, ge=2, multiple_of=2, description="features of the noise level")

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        return _MLP(self, dimension(shape))


class _MLP(nn.Module):
    def __init__(self, recipe: MLP, d: int) -> None:
        super().__init__()
        self.embedding = recipe.embedding
        activation = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}[recipe.activation]
        widths = [d + recipe.embedding, *[recipe.width] * recipe.hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), activation()]
        self.layers = nn.Sequential(*layers, nn.Linear(recipe.width, d))

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        return self.layers(torch.cat([x, sinusoidal(clock, self.embedding)], -1))
