"""One coordinate of a Gaussian mixture: density, distribution function and its inverse.

    F(x) = sum_n w_n Phi((x - mu_n) / s_n),        s_n = 0 is a step at mu_n,

is inverted by bisection, which needs no density and finds the step where there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_REACH = 40.0
"""Standard deviations beyond which no quantile of a component lies."""


@dataclass(frozen=True, eq=False)
class GaussianMixture1D:
    """A mixture of normal distributions on the line.

    Attributes:
        weights: w_n, summing to one up to rounding.
        means: mu_n.
        stds: s_n >= 0.
    """

    weights: Float[Tensor, " n"]
    means: Float[Tensor, " n"]
    stds: Float[Tensor, " n"]

    @property
    def atomic(self) -> bool:
        """Whether a component has no width."""
        return not bool((self.stds > 0).all())

    def density(self, x: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """p(x); infinite at an atom."""
        standard = self._standard(x)
        densities = torch.exp(-0.5 * standard.square()) / (self.stds * math.sqrt(2 * math.pi))
        at_atom = torch.where(x[:, None] == self.means, torch.inf, 0.0).to(densities)
        return torch.where(self.stds > 0, densities, at_atom) @ self.weights

    def cdf(self, x: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """The probability of values up to x, continuous from the right."""
        return torch.special.ndtr(self._standard(x)) @ self.weights

    def quantile(self, p: Float[Tensor, " q"]) -> Float[Tensor, " q"]:
        """The least x with F(x) >= p, for p strictly between 0 and 1."""
        if not bool(((p > 0) & (p < 1)).all()):
            raise ValueError(f"probabilities are {p.tolist()}; allowed are numbers within (0, 1)")
        total = self.weights.sum()
        low = (self.means - _REACH * self.stds).min().expand_as(p)
        high = (self.means + _REACH * self.stds).max().expand_as(p)
        steps = 4 + math.ceil(-math.log2(torch.finfo(p.dtype).eps))
        for _ in range(2 * steps):
            middle = (low + high) / 2
            below = self.cdf(middle) < p * total
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high

    def _standard(self, x: Float[Tensor, " k"]) -> Float[Tensor, "k n"]:
        """(x - mu) / s; plus or minus infinity beside an atom, and plus infinity on it."""
        difference = x[:, None] - self.means
        step = torch.where(difference >= 0, torch.inf, -torch.inf)
        return torch.where(self.stds > 0, difference / self.stds, step)
