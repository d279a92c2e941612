"""Noise on the state and noise on the data.

State: z = a x + s e with e ~ N(0, I) (a `NoiseLevel`; VE has a = 1, VP has a^2 + s^2 = 1).

Data: y = F(x) + n. Real data: n ~ N(0, sigma_d^2 I). Complex data: E|n|^2 = sigma_d^2, so that
the real and the imaginary part each have variance gamma^2 = sigma_d^2 / 2. In both cases

    log p(y | x) = -|stack(y - F(x))|^2 / (2 gamma^2) + const,

where ``stack`` writes a complex vector as a real one of twice the length and gamma is
`GaussianNoise.component_std`. Everything downstream works with stacked, whitened residuals, and
so all inner products are over the reals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.streams import Stream


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """z = a x + s e; ``a`` and ``s`` are scalars or one per sample, shape (batch,)."""

    a: float | Tensor
    s: float | Tensor

    def columns(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``a`` and ``s`` as tensors that broadcast against z (batch, d): (1, 1) or (batch, 1)."""
        return _column(self.a, z), _column(self.s, z)

    def perturb(self, x: Float[Tensor, "batch d"], stream: Stream) -> Float[Tensor, "batch d"]:
        """Draw z = a x + s e."""
        a, s = self.columns(x)
        return a * x + s * stream.normal(tuple(x.shape), x.dtype, x.device)


CLEAN = NoiseLevel(1.0, 0.0)
"""No noise: z = x."""


def _column(value: float | Tensor, z: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=z.dtype, device=z.device)
    return tensor.reshape(-1, 1)


def stack(y: Tensor) -> Float[Tensor, "... m_real"]:
    """A complex (..., m) tensor as a real (..., 2 m) one (re, im, re, ...); a real one as it is."""
    return torch.view_as_real(y).flatten(-2) if y.is_complex() else y


SMALLEST = 1e-150
"""Standard deviation of noise."""


@dataclass(frozen=True)
class GaussianNoise:
    """Observation noise with standard deviation ``std`` (complex: E|n|^2 = std^2)."""

    std: float
    complex: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"noise std is {self.std}; allowed are finite numbers above 0")
        if not SMALLEST < self.std < 1 / SMALLEST:
            raise ValueError(
                f"noise std is {self.std:g}; allowed are numbers from {SMALLEST:g} to "
                f"{1 / SMALLEST:g}, whose squares can be told from 0 and infinity"
            )

    @property
    def component_std(self) -> float:
        """gamma: the standard deviation of every real component of the noise."""
        return self.std / math.sqrt(2) if self.complex else self.std

    def whiten(self, residual: Tensor) -> Float[Tensor, "... m_real"]:
        """Stacked residual (..., m) in units of gamma: standard normal at the truth."""
        if residual.is_complex() and not self.complex:
            raise ValueError("complex data need complex noise (noise: {complex: true})")
        return stack(residual) / self.component_std

    def log_likelihood(self, residual: Tensor) -> Float[Tensor, "..."]:
        """Normalised log p(y | x) of residuals y - F(x), (..., m) -> (...)."""
        whitened = self.whiten(residual)
        log_z = math.log(self.component_std) + 0.5 * math.log(2 * math.pi)
        return -0.5 * whitened.square().sum(-1) - whitened.shape[-1] * log_z

    def perturb(self, y: Tensor, stream: Stream) -> Tensor:
        """Data y plus one draw of the noise."""
        e = stream.normal((*y.shape, 2) if y.is_complex() else tuple(y.shape), device=y.device)
        noise = torch.view_as_complex(e) if y.is_complex() else e
        return y + self.component_std * noise.to(y.dtype)
