"""Counts: shot noise of detectors that count photons, with a gain and a background.

    y = gain k,      k ~ Poisson(lambda),      lambda = (F(x) + background) / gain

so that E[y | x] = F(x) + background and Var[y | x] = gain E[y | x]. Where F(x) + background is
below zero, no data are possible: the density is zero there.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.arrays import NonNegative, Positive
from mempost.core.errors import SpecError
from mempost.core.noise import Noise, per_datum
from mempost.core.streams import Stream

_INTEGER = 1e-6
"""Distance of data from multiples of the gain that is taken for rounding."""


class Poisson(Noise):
    """Counts times a gain, around F(x) plus a background; data are multiples of the gain.

    Not Gaussian: for samplers that ask for the log-likelihood and its gradient alone.
    """

    gain: Positive = Field(1.0, description="data a count, or one for every datum")
    background: NonNegative = Field(
        0.0, description="what is added to F(x), in units of the data, or one for every datum"
    )

    def check(self, y: Tensor) -> None:
        gain = per_datum(self.gain, y)
        counts = y / gain
        fraction = (counts - counts.round()).abs()
        wrong = (fraction > _INTEGER * counts.abs().clamp(min=1)) | (counts < 0)
        if wrong.any():
            i = int(torch.nonzero(wrong)[0])
            raise SpecError(
                f"poisson: datum {i} is {float(y[i]):g}; allowed are counts from 0 times the gain, "
                f"which is {float(gain.expand_as(y)[i]):g} there"
            )

    def log_density(self, y: Tensor, f: Tensor) -> Float[Tensor, "..."]:
        k, rate = y / per_datum(self.gain, f), self.rate(f)
        possible = rate > 0
        inside = torch.where(possible, rate, 1.0)
        log_p = torch.xlogy(k, inside) - inside - torch.lgamma(k + 1)
        impossible = torch.where((k == 0) & (rate == 0), 0.0, -torch.inf).to(log_p)
        return torch.where(possible, log_p, impossible).sum(-1)

    def perturb(self, f: Tensor, stream: Stream) -> Tensor:
        rate = self.rate(f)
        if (rate < 0).any():
            least = float((f + per_datum(self.background, f)).min())
            raise SpecError(
                f"poisson: F(x) + background should not be negative, found {least:g}; give a "
                "larger background"
            )
        return per_datum(self.gain, f) * stream.poisson(rate)

    def rate(self, f: Tensor) -> Tensor:
        """lambda (..., m)."""
        return (f + per_datum(self.background, f)) / per_datum(self.gain, f)
