"""Gaussian noise y = F(x) + n: independent data of one or several accuracies, or correlated ones.

    std                      n_i ~ N(0, std^2), or std_i^2
    relative_to_max          std = relative_to_max * max |F(x)|
    covariance               n ~ N(0, C)
    covariance_entries       the same by the entries of C that are not zero
    factor                   n = L e with e ~ N(0, I), so that C = L L^H, which is never formed

Complex data are circular, C = E[n n^H], and a standard deviation is that of both parts together,
E|n_i|^2 = std_i^2. The noise is factorised once; methods see residuals in the coordinates in which
it is white (`mempost.core.whitening`).
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import ComplexMatrix, FrozenArray, Positive
from mempost.core.errors import SpecError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.memory import remember
from mempost.core.noise import NoiseRecipe
from mempost.core.shapes import fits
from mempost.core.sparse import SparseMatrix

_WAYS = ("std", "relative_to_max", "covariance", "covariance_entries", "factor")


class Gaussian(NoiseRecipe):
    """Gaussian noise of one standard deviation, of one for every datum, or of a covariance.

    The default: ``noise: {std: 0.3}`` needs no type. All samplers and metrics take it.
    """

    tags = frozenset({"complex"})

    std: Positive | None = Field(
        None, description="standard deviation, or one for every datum", examples=[0.3]
    )
    relative_to_max: float | None = Field(
        None, gt=0, description="standard deviation over the largest datum without noise"
    )
    covariance: ComplexMatrix | None = Field(None, description="of the data in one row, m x m")
    covariance_entries: SparseMatrix | None = Field(
        None, description="the covariance by its entries that are not zero"
    )
    factor: ComplexMatrix | None = Field(
        None, description="L (m x k) of the covariance L L^H, which may be near to singular"
    )
    complex: bool | None = Field(None, description="as the operator's values, if not given")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in _WAYS if getattr(self, name) is not None]
        if len(given) != 1:
            said = f", found {' and '.join(given)}" if given else ""
            raise ValueError(f"give one of {', '.join(_WAYS)}{said}")
        if self.covariance is not None:
            C = self.covariance.numpy()
            rounding = 1e-10 * np.abs(C).max()
            if C.shape[0] != C.shape[1] or np.abs(C - C.conj().T).max() > rounding:
                raise ValueError("covariance: should be a symmetric (or Hermitian) matrix")
        return self

    def resolve(self, f: Tensor) -> GaussianNoise:
        is_complex = f.is_complex() if self.complex is None else self.complex
        if is_complex != f.is_complex():
            found = "complex" if f.is_complex() else "real"
            raise SpecError(f"complex: {str(is_complex).lower()}, but the data are {found}")
        if isinstance(self.std, float):
            return GaussianNoise(self.std, is_complex)
        if self.relative_to_max is not None:
            return GaussianNoise(self.relative_to_max * _largest(f), is_complex)
        size = tuple(f.shape), is_complex
        return remember(lambda: self._factorised(*size), "noise", self, size)

    def _factorised(self, shape: tuple[int, ...], is_complex: bool) -> GaussianNoise:
        if isinstance(self.std, FrozenArray):
            if not fits(self.std.shape, shape):
                raise SpecError(f"std: shape {self.std.shape}, the data have {shape}")
            return GaussianNoise.of_stds(self.std.numpy().ravel(), is_complex)
        name, matrix = self._matrix()
        if matrix.shape[0] != math.prod(shape):
            raise SpecError(f"{name}: of {matrix.shape[0]} data, and there are {math.prod(shape)}")
        if np.iscomplexobj(matrix) and not is_complex:
            raise SpecError(f"{name}: is complex, and the data are real")
        of = GaussianNoise.of_factor if name == "factor" else GaussianNoise.of_covariance
        try:
            return of(matrix, is_complex)
        except ValueError as error:
            raise SpecError(f"{name}: {error}") from None

    def _matrix(self) -> tuple[str, Any]:
        """The field that gives a matrix, and the matrix."""
        if self.covariance_entries is not None:
            return "covariance_entries", self.covariance_entries.matrix
        name = "factor" if self.covariance is None else "covariance"
        return name, getattr(self, name).numpy()


def _largest(f: Tensor) -> float:
    """The largest absolute value of the data that are not missing."""
    largest = float(f[~f.isnan()].abs().max()) if not f.isnan().all() else 0.0
    if not largest > 0:
        raise SpecError("relative_to_max: the data are zero, so the noise would be; give std")
    return largest
