"""The exact law of z_t = a x + s e given the data, from a posterior of x in closed form.

Diffusion convolves: p(z_t | y) is the law of a x under the posterior, smoothed by N(0, s^2 I). So

    mean a E[x|y],    covariance a^2 Cov[x|y] + s^2 I,    cdf(g) = E[Phi((g - a x)/s) | y]  (1-D),

and a draw is a draw of x with noise. Under an empirical prior this is a mixture of N(a x_i, s^2 I)
with the weights of the exact posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import CanIntegrate, require
from mempost.core.level import NoiseLevel
from mempost.core.posterior import Posterior


@dataclass(frozen=True, eq=False)
class Diffused:
    """p(z_t | y) at one noise level, s > 0."""

    posterior: Posterior
    level: NoiseLevel

    def mean(self) -> Float[Tensor, " d"]:
        """E[z_t | y]."""
        return self.level.a * self.posterior.mean()

    def std(self) -> Float[Tensor, " d"]:
        """Standard deviation of each coordinate of z_t given y."""
        return (self.level.a**2 * self.posterior.std().square() + self.level.s**2).sqrt()

    def cdf(self, grid: Float[Tensor, " g"]) -> Float[Tensor, " g"]:
        """P(z_t <= g | y) in one dimension, where the posterior can integrate (`CanIntegrate`)."""
        return require(self.posterior, CanIntegrate, "the law of z_t").expectation(
            lambda x: torch.special.ndtr((grid - self.level.a * x) / self.level.s)
        )
