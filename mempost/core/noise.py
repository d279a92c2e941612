"""Noise on the state and noise on the data.

State: z = a x + s e with e ~ N(0, I) (a `NoiseLevel`; VE has a = 1, VP has a^2 + s^2 = 1).

Data: y given F(x) = f has the density p(y | f), which as a function of x is the likelihood. A
`NoiseLaw` says it and draws from it. A `NoiseRecipe` gives the law for data of some size; a `Noise`
is both.

Gaussian noise is y = f + n. For one standard deviation n ~ N(0, sigma_d^2 I); complex data have
E|n|^2 = sigma_d^2, so that the real and the imaginary part each have variance gamma^2 =
sigma_d^2 / 2. Noise of any covariance is white in coordinates W y (`mempost.core.whitening`):

    log p(y | x) = -|stack(W (y - F(x)))|^2 / (2 gamma^2) + const,

where ``stack`` writes a complex vector as a real one of twice the length and gamma is
`GaussianNoise.component_std`. Everything downstream works with these real components, stacked and
whitened, and so all inner products are over the reals.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mempost.core import whitening
from mempost.core.arrays import FrozenArray
from mempost.core.errors import SpecError
from mempost.core.plugin import Plugin
from mempost.core.shapes import fits
from mempost.core.streams import Stream
from mempost.core.whitening import Whitening


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


def unstack(t: Float[Tensor, "... m_real"]) -> Tensor:
    """The complex tensor (..., m) that `stack` wrote as a real one."""
    return torch.view_as_complex(t.unflatten(-1, (-1, 2)).contiguous())


class NoiseLaw(ABC):
    """The law of data y given F(x) = f, both flat with the data along the last axis.

    Laws are equal by content, since what is made under one is remembered by it.
    """

    @abstractmethod
    def log_density(self, y: Tensor, f: Tensor) -> Float[Tensor, "..."]:
        """Normalised log p(y | f) of all data together, (..., m) -> (...).

        Differentiable in f by torch; -inf where y is impossible.
        """

    @abstractmethod
    def perturb(self, f: Tensor, stream: Stream) -> Tensor:
        """One draw of data for f (..., m); what is missing is NaN."""

    def resolve(self, f: Tensor) -> NoiseLaw:
        """The law itself; SpecError where it is of another number of data than f."""
        return self

    def check(self, y: Tensor) -> None:  # noqa: B027  most laws give any data
        """Raise `SpecError` for data (m,) that the law cannot give; what is missing is NaN."""

    @abstractmethod
    def without(self, missing: Bool[Tensor, " m"]) -> NoiseLaw:
        """The law where some data are missing, whatever stands in their place.

        Raises:
            SpecError: all of them are.
        """

    @property
    def present(self) -> FrozenArray | None:
        """The numbers of the data that are not missing, if some are; None if all are there."""
        return None

    def components(self, residual: Tensor) -> Float[Tensor, "... m_real"]:
        """Residuals (..., m) as real numbers that count alike, without those of missing data."""
        return stack(residual)


class NoiseRecipe(Plugin, ABC):
    """What a spec says of noise."""

    @abstractmethod
    def resolve(self, f: Tensor) -> NoiseLaw:
        """The law of data like f, in their own shape; f may hold what it depends on.

        f are data without noise where these are known, else the data; what is missing is NaN.

        Raises:
            SpecError: they do not fit; the message starts with the name of a field.
        """


class Noise(NoiseRecipe, NoiseLaw):
    """A recipe that is its own law; authors override ``log_density`` and ``perturb``.

    A field that is an array holds a number for every datum: it may have the shape of the data.
    Noise that takes complex data has the tag ``complex``.
    """

    def resolve(self, f: Tensor) -> Noise:
        if f.is_complex() and "complex" not in self.tags:
            name = type(self).__name__
            raise SpecError(f"type: {name} is for real data (no tag complex), these are complex")
        arrays = self._arrays()
        for name, array in arrays.items():
            if not fits(array.shape, tuple(f.shape)):
                found, expected = array.shape, tuple(f.shape)
                raise SpecError(f"{name}: shape {found}, expected a number a datum, {expected}")
        flat = {name: FrozenArray(array.numpy().reshape(-1)) for name, array in arrays.items()}
        return self.model_copy(update=flat) if flat else self

    def without(self, missing: Bool[Tensor, " m"]) -> NoiseLaw:
        there = _there(missing)
        return Partial(self.restrict(there), FrozenArray(there), len(missing))

    def restrict(self, index: np.ndarray) -> Noise:
        """The law of the data in ``index`` (k,) alone."""
        some = {k: FrozenArray(array.numpy()[index]) for k, array in self._arrays().items()}
        return self.model_copy(update=some) if some else self

    def _arrays(self) -> dict[str, FrozenArray]:
        values = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in values if isinstance(value, FrozenArray)}


def per_datum(value: float | FrozenArray, like: Tensor) -> Tensor:
    """A parameter of data like (..., m), real: a number, or one for every datum (m,)."""
    if isinstance(value, FrozenArray):
        return value.tensor(like.real.dtype, like.device)
    return torch.tensor(value, dtype=like.real.dtype, device=like.device)


def _there(missing: Tensor) -> np.ndarray:
    """The numbers of the data that are not missing."""
    there = np.flatnonzero(~missing.cpu().numpy())
    if len(there) == 0:
        raise SpecError("missing: leaves no datum")
    return there


@dataclass(frozen=True)
class Partial(NoiseLaw):
    """The law of those data of ``size`` whose numbers are ``there``; the others are missing."""

    noise: Noise
    there: FrozenArray
    size: int

    def log_density(self, y: Tensor, f: Tensor) -> Float[Tensor, "..."]:
        return self.noise.log_density(self._some(y), self._some(f))

    def perturb(self, f: Tensor, stream: Stream) -> Tensor:
        y = torch.full_like(f, torch.nan)
        y[..., self._index(f)] = self.noise.perturb(self._some(f), stream)
        return y

    def check(self, y: Tensor) -> None:
        self.noise.check(self._some(y))

    def resolve(self, f: Tensor) -> Partial:
        _require_size(self.size, f)
        return self

    def without(self, missing: Bool[Tensor, " m"]) -> Partial:
        gone = missing.cpu().numpy()[self.there.numpy().astype(int)]
        kept = _there(torch.from_numpy(gone))
        left = FrozenArray(self.there.numpy()[kept])
        return Partial(self.noise.restrict(kept), left, self.size)

    @property
    def present(self) -> FrozenArray:
        return self.there

    def components(self, residual: Tensor) -> Float[Tensor, "... m_real"]:
        return self.noise.components(self._some(residual))

    def _some(self, y: Tensor) -> Tensor:
        return y[..., self._index(y)]

    def _index(self, like: Tensor) -> Tensor:
        return self.there.tensor(torch.long, like.device)


def _require_size(size: int, f: Tensor) -> None:
    if f.numel() != size:
        raise SpecError(f"noise of {size} data, and there are {f.numel()}")


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
            _require_size(self.whitening.size, f)
        return self

    def without(self, missing: Bool[Tensor, " m"]) -> GaussianNoise:
        _there(missing)
        whole = self.whitening or whitening.of_stds(np.ones(len(missing)))[1]
        factor, left = whole.without(missing.cpu().numpy())
        return dataclasses.replace(self, std=factor * self.std, whitening=left)

    @property
    def present(self) -> FrozenArray | None:
        if self.whitening is None or len(self.whitening.index) == self.whitening.size:
            return None
        return FrozenArray(np.sort(self.whitening.index))
