"""Heavy-tailed noise: outliers that a Gaussian would not forgive.

    y = F(x) + scale n,      p(n) proportional to (1 + n^2 / nu)^(-(nu + 1)/2)

independently for every datum. Far from the data the log density falls like a logarithm, so that a
bad datum pulls ever less the worse it is. nu = 1 is Cauchy's law, nu to infinity Gauss's. The two
parts of complex data are independent, each of scale / sqrt(2).

Reference: Lange, Little & Taylor 1989, "Robust statistical modeling using the t distribution".
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from scipy.special import stdtrit
from torch import Tensor

from mempost.core.arrays import Positive
from mempost.core.noise import Noise, per_datum, stack
from mempost.core.streams import Stream
from mempost.methods.bibliography import LANGE_1989_ROBUST


class StudentT(Noise):
    """Student's t noise of a scale, or of one for every datum: data with outliers.

    Not Gaussian: for samplers that ask for the log-likelihood and its gradient alone.
    """

    tags = frozenset({"complex"})
    publications = (LANGE_1989_ROBUST,)

    scale: Positive = Field(
        description="of the noise (complex: of both parts together), or one for every datum",
        examples=[0.3],
    )
    nu: float = Field(4.0, gt=0, description="degrees of freedom; few are many outliers")

    def log_density(self, y: Tensor, f: Tensor) -> Float[Tensor, "..."]:
        scale = self._component(f)
        parts = stack((y - f) / scale)
        log_p = -0.5 * (self.nu + 1) * torch.log1p(parts.square() / self.nu)
        half = self.nu / 2
        constant = math.lgamma(half + 0.5) - math.lgamma(half) - 0.5 * math.log(math.pi * self.nu)
        each = parts.shape[-1] // f.shape[-1]
        return (log_p + constant).sum(-1) - each * scale.log().expand(f.shape[-1]).sum()

    def perturb(self, f: Tensor, stream: Stream) -> Tensor:
        u = stream.uniform((*f.shape, 2) if f.is_complex() else tuple(f.shape))
        t = torch.as_tensor(stdtrit(self.nu, u.clamp(min=torch.finfo(u.dtype).tiny).numpy()))
        n = torch.view_as_complex(t) if f.is_complex() else t
        return f + self._component(f) * n.to(f)

    def _component(self, f: Tensor) -> Tensor:
        """Scale of a real component."""
        return per_datum(self.scale, f) / (math.sqrt(2) if f.is_complex() else 1.0)
