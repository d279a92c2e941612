"""Gaussian noise on data, y = f + n.

For one standard deviation n ~ N(0, sigma_d^2 I); complex data have E|n|^2 = sigma_d^2, so that the
real and the imaginary part each have variance gamma^2 = sigma_d^2 / 2. Noise of any covariance is
white in coordinates W y (`mempost.core.whitening`):

    log p(y | x) = -|stack(W (y - F(x)))|^2 / (2 gamma^2) + const,

where ``stack`` writes a complex vector as a real one of twice the length and gamma is
`GaussianNoise.component_std`. Everything downstream works with these real components, stacked and
whitened, and so all inner products are over the reals.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mempost.core import whitening
from mempost.core.arrays import FrozenArray
from mempost.core.noise import NoiseLaw, require_size, require_some, stack
from mempost.core.streams import Stream
from mempost.core.whitening import Whitening

SMALLEST = 1e-150
"""Standard deviation of noise."""


@dataclass(frozen=True)
class GaussianNoise(NoiseLaw):
    """Additive Gaussian noise: one standard deviation, or white in coordinates of its own.

    Attributes:
        std: standard deviation of a datum (complex: E|n|^2 = std^2); of the most accurate datum,
            or combination of data, where a ``whitening`` tells them apart.
        complex: whether data are complex.
        whitening: W; None if all data have the same noise.
    """

    std: float
    complex: bool = False
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"noise std is {self.std}; allowed are finite numbers above 0")
        if not SMALLEST < self.std < 1 / SMALLEST:
            raise ValueError(
                f"noise std is {self.std:g}; allowed are numbers from {SMALLEST:g} to "
                f"{1 / SMALLEST:g}, whose squares can be told from 0 and infinity"
            )
        if self.whitening is not None and self.whitening.is_complex and not self.complex:
            raise ValueError("a complex covariance needs complex noise")

    @classmethod
    def of_stds(cls, stds: Any, complex: bool = False) -> GaussianNoise:
        """Independent data with these standard deviations (m,)."""
        std, found = whitening.of_stds(np.asarray(stds, dtype=float))
        return cls(std, complex, found)

    @classmethod
    def of_covariance(cls, covariance: Any, complex: bool = False) -> GaussianNoise:
        """Data of this covariance (m, m), an array or a sparse one; E[n n^H] of complex data."""
        std, found = whitening.of_covariance(covariance)
        return cls(std, complex, found)

    @classmethod
    def of_factor(cls, factor: Any, complex: bool = False) -> GaussianNoise:
        """Data of the covariance L L^H, for L (m, k)."""
        std, found = whitening.of_factor(np.asarray(factor))
        return cls(std, complex, found)

    @property
    def component_std(self) -> float:
        """gamma: the standard deviation of every real component of the noise."""
        return self.std / math.sqrt(2) if self.complex else self.std

    def scaled(self, factor: float) -> GaussianNoise:
        """Noise of so many times the size."""
        return dataclasses.replace(self, std=factor * self.std)

    def components(self, residual: Tensor) -> Float[Tensor, "... m_real"]:
        """stack(W residual): real coordinates in which the noise is white, of size gamma."""
        if residual.is_complex() and not self.complex:
            raise ValueError("complex data need complex noise (noise: {complex: true})")
        return stack(residual if self.whitening is None else self.whitening(residual))

    def whiten(self, residual: Tensor) -> Float[Tensor, "... m_real"]:
        """Stacked residual (..., m) in units of the noise: standard normal at the truth."""
        return self.components(residual) / self.component_std

    def standardise(self, residual: Tensor) -> Tensor:
        """Residuals (..., m), each over the standard deviation of its own; NaN where missing."""
        scaled = residual / self.component_std
        return scaled if self.whitening is None else scaled / self.whitening.stds(residual)

    def log_density(self, y: Tensor, f: Tensor) -> Float[Tensor, "..."]:
        whitened = self.whiten(y - f)
        return -0.5 * whitened.square().sum(-1) - self.log_normaliser(whitened.shape[-1])

    def log_normaliser(self, m_real: int) -> float:
        """-log p(f | f) for so many real data."""
        constant = m_real * (math.log(self.component_std) + 0.5 * math.log(2 * math.pi))
        if self.whitening is None:
            return constant
        return constant - (1 + self.complex) * self.whitening.log_determinant

    def perturb(self, f: Tensor, stream: Stream) -> Tensor:
        e = stream.normal((*f.shape, 2) if f.is_complex() else tuple(f.shape), device=f.device)
        noise = torch.view_as_complex(e) if f.is_complex() else e
        if self.whitening is not None:
            noise = self.whitening.colour(noise)
        return f + self.component_std * noise.to(f.dtype)

    def resolve(self, f: Tensor) -> GaussianNoise:
        if self.whitening is not None:
            require_size(self.whitening.size, f)
        return self

    def without(self, missing: Bool[Tensor, " m"]) -> GaussianNoise:
        require_some(missing)
        whole = self.whitening or whitening.of_stds(np.ones(len(missing)))[1]
        factor, left = whole.without(missing.cpu().numpy())
        return dataclasses.replace(self, std=factor * self.std, whitening=left)

    @property
    def present(self) -> FrozenArray | None:
        if self.whitening is None or len(self.whitening.index) == self.whitening.size:
            return None
        return FrozenArray(np.sort(self.whitening.index))
