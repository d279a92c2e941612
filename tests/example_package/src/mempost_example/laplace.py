"""Laplace's noise, of one scale or of one for every datum."""

import torch
from pydantic import Field

from mempost import Noise
from mempost.core.arrays import Positive
from mempost.core.noise import per_datum


class Laplace(Noise):
    """Laplace's noise: exponential tails on both sides."""

    b: Positive = Field(0.3, description="mean distance of data from F(x)")

    def log_density(self, y, f):
        b = per_datum(self.b, f)
        return (-(y - f).abs() / b - (2 * b).log()).sum(-1)

    def perturb(self, f, stream):
        u = stream.uniform(tuple(f.shape), f.dtype, f.device) - 0.5
        return f - per_datum(self.b, f) * u.sign() * torch.log1p(-2 * u.abs())
