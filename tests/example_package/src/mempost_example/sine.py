"""F(x) = amplitude sin(x)."""

import torch
from pydantic import Field

from mempost import ForwardOperator


class Sine(ForwardOperator):
    """An elementwise sine."""

    amplitude: float = Field(1.0, gt=0)

    def forward(self, x):
        return self.amplitude * torch.sin(x)
