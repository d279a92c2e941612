"""One layer with gates: y = W_3 (tanh(W_1 u) * sigmoid(W_2 u)), u = (x, clock)."""

import torch
from pydantic import Field
from torch import nn

from mempost import Network
from mempost.core.network import CLOCK, dimension


class Gated(Network):
    """A layer of gated units."""

    width: int = Field(32, ge=1)

    def build(self, shape):
        return _Gated(dimension(shape), self.width)


class _Gated(nn.Module):
    def __init__(self, d, width):
        super().__init__()
        self.value, self.gate = nn.Linear(d + 1, width), nn.Linear(d + 1, width)
        self.last = nn.Linear(width, d)

    def forward(self, x, clock):
        u = torch.cat([x, clock[:, None] / CLOCK], -1)
        return self.last(torch.tanh(self.value(u)) * torch.sigmoid(self.gate(u)))
