"""Gaussian random fields on a periodic square, from their spectrum.

    A(k) = sqrt(2) tau^(alpha - 1) (4 pi^2 |k|^2 + tau^2)^(-alpha/2),   A(0) = 0,
    k in {-n/2, ..., n/2 - 1}^2 (Matern-like, covariance ~ (-Laplacian + tau^2)^-alpha),

scaled to a pointwise standard deviation of a sixth of the distance between ``bounds``, around their
middle. The bounds are nominal, three standard deviations away: ``clip`` cuts what leaves them.

``stationary`` filters real white noise w on the grid, f = F^-1(A F w) with the discrete Fourier
transform F. The noise is Hermitian in the frequency domain, so the field is real by itself and
its variance is the same everywhere.

``reference`` rebuilds the generator of earlier work: Re F^-1(A g) with *real* independent g(k).
Without the Hermitian pairing the sine parts cancel, and every field is symmetric about the origin,
f(x) = f(-x); the standard deviation is nominal at the four fixed points of that symmetry and
smaller by sqrt(2) away from them. Its random numbers are NumPy's legacy ones, with own seeds.

Reference: Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart & Anandkumar 2021, "Fourier
neural operator for parametric partial differential equations" (the spectrum).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, model_validator
from torch import Tensor

from mempost.core.dataset import Data
from mempost.core.publication import Publication
from mempost.core.streams import TILE, Stream, Streams
from mempost.methods.bibliography import LI_2021_FOURIER
from mempost.methods.statistics.independent import IndependentDraws


class GaussianRandomField(IndependentDraws):
    """Smooth random fields on a periodic n x n grid, such as squared slowness in s^2/km^2."""

    publications: ClassVar[tuple[Publication, ...]] = (LI_2021_FOURIER,)
    n: int = Field(64, ge=2, le=4096, multiple_of=2, description="grid points a side")
    alpha: float = Field(3.0, gt=0, description="smoothness")
    tau: float = Field(5.0, gt=0, description="inverse correlation length")
    bounds: tuple[float, float] = Field(
        (1 / 9, 1 / 2.25), description="nominal bounds, three standard deviations from the middle"
    )
    clip: bool = Field(False, description="cut values outside the bounds")
    variant: Literal["stationary", "reference"] = "stationary"
    reference_seeds: tuple[NonNegativeInt, NonNegativeInt] = Field(
        (42, 43), description="legacy seeds of training and held-out fields, for reference"
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds should increase, found {self.bounds}")
        return self

    @property
    def std(self) -> float:
        """Nominal standard deviation."""
        return (self.bounds[1] - self.bounds[0]) / 6

    def amplitude(self) -> Tensor:
        """A(k), scaled so that sum A^2 = n^2 std^2; (n, n) in the order of the FFT."""
        k = torch.fft.fftfreq(self.n, 1 / self.n, dtype=torch.float64)
        square = k[:, None] ** 2 + k**2
        a = (4 * math.pi**2 * square + self.tau**2) ** (-self.alpha / 2)
        a[0, 0] = 0.0
        return a * self.n * self.std / a.square().sum().sqrt()

    def draws(self) -> Callable[[Stream], Tensor]:
        filter_ = self.amplitude()

        def draw(stream: Stream) -> Tensor:
            w = stream.normal((TILE, self.n, self.n))
            return self._placed(torch.fft.ifft2(filter_ * torch.fft.fft2(w)).real)

        return draw

    def load(self, streams: Streams) -> Data:
        if self.variant == "stationary":
            return super().load(streams)
        train_seed, held_out_seed = self.reference_seeds
        train = self._reference_fields(self.n_train, train_seed)
        return Data(train, self._reference_fields(self.n_held_out, held_out_seed))

    def _reference_fields(self, count: int, seed: int) -> Tensor:
        g = np.random.RandomState(seed).randn(max(1, count), self.n, self.n)
        scaled = self.n * self.amplitude() * torch.from_numpy(g)
        return self._placed(torch.fft.ifft2(scaled).real)[:count]

    def _placed(self, field: Tensor) -> Tensor:
        field = field + sum(self.bounds) / 2
        return field.clamp(*self.bounds) if self.clip else field
