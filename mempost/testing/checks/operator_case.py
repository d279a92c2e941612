"""An operator with the models and perturbations of its checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mempost.core.errors import MempostError
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.streams import Role, Streams
from mempost.testing.check import Catalogue, CheckFailedError
from mempost.testing.reference import DenseMixture

SHAPES: tuple[Shape, ...] = ((6,), (6, 7), (2, 6, 7), (2,), (1,))
"""Domains that are tried for operators that take models of any shape."""

SOLVES = 1e-9
"""Relative accuracy of values and products that hold a linear solve."""


@dataclass(frozen=True, eq=False)
class OperatorCase:
    """An operator and admissible models.

    Attributes:
        plugin: the operator.
        given_shape: shape of one model, where the author names it.
        given_models: admissible models (batch, *shape), batch >= 2, where not all are.
    """

    plugin: ForwardOperator
    given_shape: Shape | None = None
    given_models: Tensor | None = None

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def shape(self) -> Shape:
        """Shape of one model."""
        if self.given_models is not None:
            return tuple(self.given_models.shape[1:])
        if self.given_shape is not None or self.plugin.domain_shape is not None:
            return tuple(self.given_shape or self.plugin.domain_shape or ())
        for shape in SHAPES:
            try:
                operator = _resolved(self.plugin, shape)
                operator(operator.example_models(shape, Streams(0, "truth").at()))
            except (MempostError, ValueError):
                continue
            return shape
        raise CheckFailedError(
            f"None of the shapes {', '.join(map(str, SHAPES))} is accepted: give shape= or models=."
        )

    @cached_property
    def operator(self) -> ForwardOperator:
        """The operator with what it takes from a prior filled in."""
        return _resolved(self.plugin, self.shape)

    @cached_property
    def x(self) -> Tensor:
        """Four admissible models (fewer where fewer are given), float64."""
        if self.given_models is not None:
            return self.given_models.double()[:4]
        return self.operator.example_models(self.shape, Streams(0, "truth").at())

    @cached_property
    def scale(self) -> float:
        """Spread of admissible models: the size of a sensible perturbation."""
        return float((self.x - self.x.mean(0)).square().mean().sqrt())

    @cached_property
    def directions(self) -> dict[str, Tensor]:
        """Perturbations (1, *shape) of the size of `scale`, by name."""
        smooth, edge = torch.ones(self.shape).double(), torch.zeros(self.shape).double()
        signs = normal(self.shape, "noise").sign()
        for axis, n in enumerate(self.shape):
            wave = torch.cos(math.pi * (torch.arange(n).double() + 0.5) / n) if n > 1 else 1.0
            smooth = smooth.movedim(axis, -1).mul(wave).movedim(-1, axis)
            ends = torch.tensor([0, n - 1])
            edge = edge.index_copy(axis, ends, signs.index_select(axis, ends))
        named = {"random": normal(self.shape, "sampling"), "smooth": smooth, "edge": edge}
        return {name: self.scale * v[None] for name, v in named.items()}

    def cotangent(self) -> Tensor:
        """Random data of the range's shape, one for each model."""
        y = self.operator(self.x)
        w = normal((*y.shape, 2), "metric")
        return torch.view_as_complex(w) if y.is_complex() else w[..., 0].to(y.dtype)


CHECKS: Catalogue[OperatorCase] = Catalogue("operator", OperatorCase)


def normal(shape: tuple[int, ...], role: Role) -> Tensor:
    """Standard normal numbers of seed 0."""
    return Streams(0, role).at().normal(shape)


def _resolved(operator: ForwardOperator, shape: Shape) -> ForwardOperator:
    """Resolve against a prior with coordinates that are not the identity."""
    d = math.prod(shape)
    ones = torch.ones(1).double()
    prior = DenseMixture(ones, torch.zeros(1, d).double(), torch.eye(d).double()[None], shape)
    location = normal((d,), "training")
    prior.coordinates = type(prior.coordinates)(location, location.abs() + 0.5)
    return operator.resolve(prior)
