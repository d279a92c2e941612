"""Cosine expansion of a field on a rectangle, a truncated Karhunen-Loeve series.

    m = mean + scale * sum_k z_k lambda_k phi_k,
    phi_k(x) = 2 cos(pi (k_1 + 1/2) x_1) cos(pi (k_2 + 1/2) x_2),
    lambda_k = (pi^2 ((k_1 + 1/2)^2 + (k_2 + 1/2)^2) + shift)^(-decay/2),

with x in units of the rectangle's sides and node j of n at x = (j + 1/2)/n. The series is that of
a Gaussian field with covariance (shift - Laplacian)^-decay, slope zero at x = 0 and value zero at
x = 1. On the nodes the cosines are those of the fourth discrete cosine transform and exactly
orthogonal, <phi_k, phi_l> = n_1 n_2 delta_kl, so that the coefficients of a field are

    z_k = <m - mean, phi_k> / (n_1 n_2 scale lambda_k).

Fields outside the span lose energy in the projection: `KLCosine.energy_kept` says how much.

References: Dashti & Stuart 2017, "The Bayesian approach to inverse problems".
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.errors import ShapeError
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.publication import Publication
from mempost.core.tables import table
from mempost.methods.bibliography import DASHTI_2017_BAYESIAN

Count = Annotated[int, Field(ge=1)]


class KLCosine(ForwardOperator):
    """Fields from cosine coefficients: d = modes[0] * modes[1] numbers to an image.

    Coefficient k = (k_1, k_2) stands at place (k_1 - first) * modes[1] + k_2 - first. The basis is
    complete where ``first_index`` is 0 and there are as many modes as nodes. It does not depend on
    the number of nodes, so that the same coefficients give the same field on any grid.
    """

    tags = frozenset({"linear"})
    publications: ClassVar[tuple[Publication, ...]] = (DASHTI_2017_BAYESIAN,)
    shape: tuple[Count, Count] = Field((50, 50), description="nodes (n_1, n_2)", examples=[(12, 9)])
    modes: tuple[Count, Count] = Field(
        (10, 10), description="cosines along each axis", examples=[(4, 3)]
    )
    first_index: int = Field(
        1, ge=0, description="k_1 and k_2 of the first mode; 0 keeps the quarter wave"
    )
    mean: float = Field(0.25, description="mean field")
    scale: float = Field(0.02, gt=0)
    decay: float = Field(1.1, ge=0, description="lambda falls as wavenumber to the -decay")
    shift: float = Field(0.0, ge=0, description="added to the eigenvalues of the Laplacian")

    @property
    def domain_shape(self) -> Shape:
        return (self.modes[0] * self.modes[1],)

    def range_shape(self, domain_shape: Shape) -> Shape:
        return self.shape

    def check_domain(self, shape: Shape) -> None:
        super().check_domain(shape)
        for n, modes in zip(self.shape, self.modes, strict=True):
            if self.first_index + modes > n:
                raise ShapeError(
                    f"KLCosine: {n} nodes carry modes 0 to {n - 1}, asked for are "
                    f"{self.first_index} to {self.first_index + modes - 1}"
                )

    def forward(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch n_1 n_2"]:
        first, second, amplitude = self._factors(x)
        coefficients = (x * amplitude).unflatten(-1, self.modes)
        return self.mean + first @ coefficients @ second.mT

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        first, second, amplitude = self._factors(x)
        matrix = torch.kron(first, second) * amplitude
        product = matrix[None] if basis is None else matrix @ basis
        return self(x), product.expand(len(x), -1, -1)

    def project(self, m: Float[Tensor, "batch n_1 n_2"]) -> Float[Tensor, "batch d"]:
        """Coefficients of the orthogonal projection of fields onto the span.

        Raises:
            ShapeError: the fields do not have the operator's shape.
        """
        self.check_domain(self.domain_shape)
        if tuple(m.shape[1:]) != self.shape:
            raise ShapeError(f"KLCosine projects fields of shape {self.shape}, found {m.shape[1:]}")
        first, second, amplitude = self._factors(m)
        inner = first.mT @ (m - self.mean) @ second
        return inner.flatten(1) / (self.shape[0] * self.shape[1] * amplitude)

    def energy_kept(self, m: Float[Tensor, "batch n_1 n_2"]) -> Float[Tensor, " batch"]:
        """The part of |m - mean|^2 that the projection keeps, for each field."""
        kept = (self.forward(self.project(m)) - self.mean).square().sum((1, 2))
        return kept / (m - self.mean).square().sum((1, 2))

    def _factors(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cosines (n_1, K_1) and (n_2, K_2), of mean square 1, and amplitudes (d,)."""
        place = {"dtype": like.dtype, "device": like.device}
        first, second = (
            _cosines(n, modes, self.first_index, **place)
            for n, modes in zip(self.shape, self.modes, strict=True)
        )
        return first, second, _amplitudes(self, **place)


@table
def _cosines(n: int, modes: int, first_index: int) -> np.ndarray:
    """sqrt(2) cos(pi (k + 1/2) x), (n, modes)."""
    x = (np.arange(n) + 0.5) / n
    k = np.arange(first_index, first_index + modes) + 0.5
    return math.sqrt(2) * np.cos(math.pi * np.multiply.outer(x, k))


@table
def _amplitudes(series: KLCosine) -> np.ndarray:
    """scale * lambda_k, (d,)."""
    k_1, k_2 = (series.first_index + np.arange(modes) + 0.5 for modes in series.modes)
    eigenvalue = math.pi**2 * np.add.outer(k_1**2, k_2**2) + series.shift
    return series.scale * eigenvalue.ravel() ** (-series.decay / 2)
