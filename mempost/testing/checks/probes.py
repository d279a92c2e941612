"""Operators that pass through the values of another one, and reveal what is done with them."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.tags import Tag


class _Wrapped(ForwardOperator):
    """Another operator, with its shapes and tags."""

    inner: Any

    def _tags(self) -> frozenset[Tag]:
        return self.inner.tags

    @property
    def domain_shape(self) -> Shape | None:
        return self.inner.domain_shape

    def range_shape(self, domain_shape: Shape) -> Shape:
        return self.inner.range_shape(domain_shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Opaque(_Wrapped):
    """The values alone: derivatives are zero or refused."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.detach()).detach()

    def jvp(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        raise PluginError("the operator was differentiated")

    def vjp(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        raise PluginError("the operator was differentiated")

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise PluginError("the operator was differentiated")


class Faulty(_Wrapped):
    """Values that turn NaN for one row, after some evaluations of batches that have the row."""

    row: int
    after: int
    _count: int = PrivateAttr(0)

    @property
    def triggered(self) -> bool:
        """Whether a NaN was given."""
        return self._count > self.after

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if len(y) <= self.row:
            return y
        self._count += 1
        factor = torch.ones(len(y), *[1] * (y.ndim - 1), dtype=x.dtype, device=y.device)
        if self.triggered:
            factor[self.row] = torch.nan
        return factor * y
