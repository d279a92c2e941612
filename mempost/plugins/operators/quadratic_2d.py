"""A quadratic map of the plane: F(x1, x2) = (x1 + a x1 x2, x2 + b x1^2).

Its Jacobian is [[1 + a x2, a x1], [2 b x1, 1]]. With a = 0.3 and b = 0.2 it is the forward map of
Figure 1 (d-f) of Siahkoohi & Sabeddu 2026.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.operator import ForwardOperator, Shape
from mempost.core.tags import Tag
from mempost.methods.bibliography import SIAHKOOHI_2026_MEMORIZATION


class Quadratic2D(ForwardOperator):
    """The quadratic map F(x1, x2) = (x1 + a x1 x2, x2 + b x1^2)."""

    publications = (SIAHKOOHI_2026_MEMORIZATION,)
    a: float = Field(0.3, description="coefficient of x1 x2 in the first component")
    b: float = Field(0.2, description="coefficient of x1^2 in the second component")

    def _tags(self) -> frozenset[Tag]:
        """Linear if both coefficients vanish."""
        return frozenset({"linear"}) if self.a == self.b == 0 else frozenset()

    @property
    def domain_shape(self) -> Shape:
        return (2,)

    def forward(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        x1, x2 = x.unbind(-1)
        return torch.stack([x1 + self.a * x1 * x2, x2 + self.b * x1**2], -1)

    def jacobian(
        self, x: Float[Tensor, "batch 2"], basis: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x1, x2 = x.unbind(-1)
        entries = [1 + self.a * x2, self.a * x1, 2 * self.b * x1, torch.ones_like(x1)]
        matrix = torch.stack(entries, -1).reshape(-1, 2, 2)
        return self(x), matrix if basis is None else matrix @ basis
