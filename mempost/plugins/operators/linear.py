"""Linear (affine) maps given by a matrix: F(x) = A x + b, with J = A.

A model of any shape with d numbers is read in row-major order. A real x and a complex A give
complex data, and the adjoint is then v -> Re(A^H v).
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import ComplexMatrix, ComplexVector, FrozenArray
from mempost.core.errors import ShapeError
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.tables import constant
from mempost.core.tags import Tag


class Linear(ForwardOperator):
    """A dense linear map with an offset, F(x) = A x + b.

    This is the general linear operator; `identity`, `mask` and `blur` are linear operators whose
    matrix is known from a few parameters.
    """

    tags = frozenset({"linear"})
    matrix: ComplexMatrix = Field(
        description="A, (m, d); real, or {real: ..., imag: ...}",
        examples=[[[1.0, 0.5], [0.0, 2.0]]],
    )
    offset: ComplexVector | None = Field(None, description="b, (m,); zero if not given")

    @model_validator(mode="after")
    def _offset_fits(self) -> Self:
        m = self.matrix.shape[0]
        if self.offset is not None and self.offset.shape[0] != m:
            raise ValueError(
                f"offset should hold {m} numbers, one a row of the matrix, "
                f"found {self.offset.shape[0]}"
            )
        return self

    def _tags(self) -> frozenset[Tag]:
        """Complex if the matrix or the offset is."""
        given = [self.matrix] if self.offset is None else [self.matrix, self.offset]
        found = any(np.iscomplexobj(array.numpy()) for array in given)
        return super()._tags() | ({"complex"} if found else set())

    @property
    def domain_shape(self) -> Shape:
        return (self.matrix.shape[1],)

    def check_domain(self, shape: Shape) -> None:
        """Refuse models that do not hold d numbers."""
        d = self.matrix.shape[1]
        if math.prod(shape) != d:
            raise ShapeError(f"Linear takes models of {d} numbers, found shape {shape}")

    def range_shape(self, domain_shape: Shape) -> Shape:
        return (self.matrix.shape[0],)

    def forward(self, x: Tensor) -> Tensor:
        matrix = self._tensor(self.matrix, x)
        y = x.flatten(1).to(matrix.dtype) @ matrix.mT
        return y if self.offset is None else y + self._tensor(self.offset, x)

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        matrix = self._tensor(self.matrix, x)
        columns = matrix[None] if basis is None else matrix @ basis.to(matrix.dtype)
        return self(x), columns.expand(len(x), -1, -1)

    def _tensor(self, array: FrozenArray, x: Tensor) -> Tensor:
        dtype = x.dtype.to_complex() if self.is_complex else x.dtype
        return constant(array, dtype=dtype, device=x.device)
