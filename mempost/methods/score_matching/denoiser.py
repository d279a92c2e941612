"""A network as a denoiser: D(u) = E[x | u] for u = x + sigma e, at every sigma.

Inside the trained range of sigma the network answers (also in gaps, where it was not trained: what
it says there is what gap training is about). Outside:

* below sigma_min the score is held,
  (D(u, sigma) - u)/sigma^2 = (D(u, sigma_min) - u)/sigma_min^2,
  so that D(u) -> u as sigma -> 0, as for the score of a density that is smooth below sigma_min;
* above sigma_max the state is rescaled,
  D(u, sigma) = D(mu + (u - mu) sigma_max/sigma, sigma_max):
  a reverse process from above arrives at sigma_max with the noise that it started from. The true
  denoiser tends to the mean of the data more closely there.

Both are continuous at the ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mempost.core.network import CLOCK
from mempost.methods.score_matching.parametrisation import Parametrisation, coefficients


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A network with its parametrisation, scales and range of noise levels.

    Attributes:
        network: takes (batch, d) and the clock (batch,), gives (batch, d).
        parametrisation: what the network says.
        centre: mu (d,), the mean of the training data.
        sigma_data: root mean square of the data about mu.
        low: sigma_min, the smallest level in training.
        high: sigma_max, the largest.
    """

    network: nn.Module
    parametrisation: Parametrisation
    centre: Float[Tensor, " d"]
    sigma_data: float
    low: float
    high: float

    def inside(
        self, u: Float[Tensor, "batch d"], sigma: Float[Tensor, "batch_or_1 1"]
    ) -> Float[Tensor, "batch d"]:
        """D(u) for levels in the trained range."""
        c = coefficients(self.parametrisation, sigma, self.sigma_data)
        about = u - self.centre
        clock = CLOCK * (sigma.log() - math.log(self.low)) / math.log(self.high / self.low)
        said = self.network(c.input * about, clock[:, 0].expand(len(u)))
        return torch.addcmul(torch.addcmul(self.centre, c.skip, about), c.out, said)

    def __call__(
        self, u: Float[Tensor, "batch d"], sigma: Float[Tensor, "batch_or_1 1"]
    ) -> Float[Tensor, "batch d"]:
        """D(u) for every level sigma >= 0."""
        shrink = (self.high / sigma).clamp(max=1)
        within = self.inside(
            self.centre + shrink * (u - self.centre), sigma.clamp(self.low, self.high)
        )
        gain = (sigma / self.low).clamp(max=1) ** 2
        return torch.where(gain < 1, gain * within + (1 - gain) * u, within)


def scales_of(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], float]:
    """The mean of the data and their root mean square about it (1 if all are equal)."""
    centre = x.mean(0)
    spread = float((x - centre).square().mean().sqrt())
    return centre, spread if spread > 0 else 1.0
