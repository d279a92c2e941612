"""Noise on data: the law p(y | f) of data y given F(x) = f, as a function of x the likelihood.

A `NoiseLaw` says it and draws from it. A `NoiseRecipe` gives the law for data of some size; a
`Noise` is both. Complex data are stacked as real ones of twice the length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.errors import SpecError
from mempost.core.plugin import Plugin
from mempost.core.shapes import fits
from mempost.core.streams import Stream


def stack(y: Tensor) -> Float[Tensor, "... m_real"]:
    """A complex (..., m) tensor as a real (..., 2 m) one (re, im, re, ...); a real one as it is."""
    return torch.view_as_real(y).flatten(-2) if y.is_complex() else y


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
        there = require_some(missing)
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


def require_some(missing: Tensor) -> np.ndarray:
    """The numbers of the data that are not missing; `SpecError` where all of them are."""
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
        require_size(self.size, f)
        return self

    def without(self, missing: Bool[Tensor, " m"]) -> Partial:
        gone = missing.cpu().numpy()[self.there.numpy().astype(int)]
        kept = require_some(torch.from_numpy(gone))
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


def require_size(size: int, f: Tensor) -> None:
    """Refuse data of another number than a law's; raises `SpecError`."""
    if f.numel() != size:
        raise SpecError(f"noise of {size} data, and there are {f.numel()}")
