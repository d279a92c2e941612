"""Gaussian blur as a separable linear map: F(X) = B_h X B_w^T for an image X of h x w pixels.

Row i of B holds the weights g_k = exp(-k^2 / (2 width^2)) / Z of the pixels i + k, |k| <= 4 width
(rounded up), with Z their sum. Pixels beyond the edge follow the boundary rule. The Jacobian is the
Kronecker product of B_h and B_w, and the adjoint is V -> B_h^T V B_w.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mempost.core.errors import ShapeError
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.tables import table

Boundary = Literal["reflect", "zero", "periodic"]


class Blur(ForwardOperator):
    """Gaussian blur of an image with two axes.

    Beyond its edge the image is mirrored (``reflect``: c b a | a b c), zero, or periodic; mirrored
    and periodic images go on as far as the kernel reaches. Constant images stay constant, except
    near the edge under ``zero``.
    """

    tags = frozenset({"linear"})
    width: float = Field(
        1.0, gt=0, le=1000, description="standard deviation of the kernel in pixels"
    )
    boundary: Boundary = "reflect"

    def check_domain(self, shape: Shape) -> None:
        """Refuse models without exactly two axes."""
        if len(shape) != 2:
            raise ShapeError(f"Blur takes images with two axes, found shape {shape}")

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self._factors(x)
        return rows @ x @ columns.mT

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rows, columns = self._factors(x)
        if basis is None:
            product = torch.kron(rows, columns)[None]
        else:
            images = basis.unflatten(1, x.shape[1:])
            blurred = torch.einsum("ih,bhwk->biwk", rows, images)
            product = torch.einsum("jw,biwk->bijk", columns, blurred).flatten(1, 2)
        return self(x), product.expand(len(x), -1, -1)

    def _factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, w = (
            _blur_matrix(self.width, self.boundary, n, dtype=x.dtype, device=x.device)
            for n in x.shape[-2:]
        )
        return h, w


@table
def _blur_matrix(width: float, boundary: Boundary, n: int) -> np.ndarray:
    """B (n, n) along an axis of n pixels."""
    k = np.arange(-math.ceil(4 * width), math.ceil(4 * width) + 1)
    with np.errstate(over="ignore"):
        g = np.exp(-0.5 * (k / width) ** 2)
    source = np.arange(n)[:, None] + k
    weight = np.broadcast_to(g / g.sum(), source.shape)
    if boundary == "zero":
        weight = np.where((source >= 0) & (source < n), weight, 0.0)
    if boundary == "reflect":
        source = source % (2 * n)
        source = np.minimum(source, 2 * n - 1 - source)
    matrix = np.zeros((n, n))
    np.add.at(matrix, (np.arange(n)[:, None], source % n), weight)
    return matrix
