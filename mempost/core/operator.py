"""Forward operators F: real models x to real or complex data y.

The real inner product <u, v> = Re(u^H v) is the only one used: the adjoint of the Jacobian J of a
complex-valued operator is v -> Re(J^H v), which is what torch computes for real x.

Operators compose right to left: (G @ F)(x) = G(F(x)), with the chain rule for Jacobians.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Inexact
from pydantic import SerializeAsAny
from torch import Tensor

from mempost.core.errors import PluginError, ShapeError
from mempost.core.plugin import Plugin
from mempost.core.streams import Stream
from mempost.core.tags import Tag, refuse_overridden

if TYPE_CHECKING:
    from mempost.core.prior import FittedPrior

Shape = tuple[int, ...]


class ForwardOperator(Plugin, ABC):
    """A forward map; authors override ``forward`` (batched, differentiable by torch).

    Operators that change shape override ``range_shape``; those that take one shape only also
    override ``domain_shape``. A linear operator carries the tag ``linear``, one with complex
    values the tag ``complex``.
    """

    @property
    def domain_shape(self) -> Shape | None:
        """Shape of one x, or None where any shape will do."""
        return None

    def range_shape(self, domain_shape: Shape) -> Shape:
        """Shape of one y for an x of the given shape."""
        return domain_shape

    def resolve(self, prior: FittedPrior) -> ForwardOperator:
        """The operator with everything filled in that it takes from the fitted prior."""
        return self

    def example_models(self, shape: Shape, stream: Stream) -> Inexact[Tensor, "4 *domain"]:
        """Four models of which F is defined, for checks; override where not all x will do."""
        return stream.normal((4, *shape))

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        refuse_overridden(cls, {"is_linear": "linear", "is_complex": "complex"})

    @property
    def is_linear(self) -> bool:
        """Whether F(x) = A x + b."""
        return "linear" in self.tags

    @property
    def is_complex(self) -> bool:
        """Whether y is complex."""
        return "complex" in self.tags

    @abstractmethod
    def forward(self, x: Inexact[Tensor, "batch *domain"]) -> Tensor:
        """F(x), one row a model."""

    def __call__(self, x: Inexact[Tensor, "batch *domain"]) -> Tensor:
        """F(x) for a batch of models, after a check of shapes.

        Raises:
            ShapeError: x is not (batch, *domain_shape).
            PluginError: a derivative is wanted, and ``forward`` has left torch on its way.
        """
        self.check_domain(tuple(x.shape[1:]))
        y = self.forward(x)
        if torch.is_grad_enabled() and x.requires_grad and not y.requires_grad:
            raise PluginError(
                f"{type(self).__name__}.forward has no derivative: it has to be written in torch "
                "operations, or in a torch.autograd.Function with an adjoint of its own "
                "(docs/writing_a_plugin.md)"
            )
        return y

    def check_domain(self, shape: Shape) -> None:
        """Refuse models of another shape than the domain's."""
        if self.domain_shape is not None and shape != self.domain_shape:
            raise ShapeError(
                f"{type(self).__name__} takes models of shape {self.domain_shape}, found {shape}"
            )

    def jvp(
        self, x: Inexact[Tensor, "batch *domain"], v: Inexact[Tensor, "batch *domain"]
    ) -> tuple[Tensor, Tensor]:
        """F(x) and J(x) v."""
        pair = torch.func.jvp(self, (x,), (v,))
        return pair[0], pair[1]

    def vjp(self, x: Inexact[Tensor, "batch *domain"], v: Tensor) -> tuple[Tensor, Tensor]:
        """F(x) and Re(J(x)^H v)."""
        pair = torch.func.vjp(self, x)
        return pair[0], pair[1](v)[0]

    def jacobian(
        self,
        x: Inexact[Tensor, "batch *domain"],
        basis: Inexact[Tensor, "#batch d k"] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """F(x) and J(x) B, as (batch, *range) and (batch, m, k).

        Args:
            x: models, (batch, *domain) with d numbers each.
            basis: B, (batch or 1, d, k); None for the identity, which gives J itself.

        Composition passes inner Jacobians outwards as the basis, so that an operator with an
        economical way to form J B (adjoint states, reciprocity) needs to override this alone.
        """
        d = math.prod(x.shape[1:])
        if basis is None:
            basis = torch.eye(d, dtype=x.dtype, device=x.device)[None]
        directions = basis.expand(len(x), -1, -1).movedim(-1, 0).reshape(-1, *x.shape)

        def push(v: Tensor) -> Tensor:
            return torch.func.jvp(self.forward, (x,), (v,))[1]

        columns = torch.func.vmap(push, chunk_size=64)(directions)
        return self(x), columns.flatten(2).movedim(0, -1)

    @property
    def parts(self) -> tuple[ForwardOperator, ...]:
        """The operators that it is composed of, outermost first; itself if of none."""
        return (self,)

    def __matmul__(self, inner: ForwardOperator) -> Composition:
        """G @ F: first F, then G."""
        return compose([self, inner])


class Composition(ForwardOperator):
    """Operators applied right to left."""

    operators: tuple[SerializeAsAny[ForwardOperator], ...]

    @property
    def parts(self) -> tuple[ForwardOperator, ...]:
        return self.operators

    def _tags(self) -> frozenset[Tag]:
        """Linear if all parts are, complex if one is."""
        parts = [operator.tags for operator in self.operators]
        linear = frozenset[Tag]({"linear"}).intersection(*parts)
        return linear | (frozenset[Tag]({"complex"}) & frozenset[Tag]().union(*parts))

    @property
    def domain_shape(self) -> Shape | None:
        return self.operators[-1].domain_shape

    def check_domain(self, shape: Shape) -> None:
        self.operators[-1].check_domain(shape)

    def range_shape(self, domain_shape: Shape) -> Shape:
        for operator in reversed(self.operators):
            operator.check_domain(domain_shape)
            domain_shape = operator.range_shape(domain_shape)
        return domain_shape

    def example_models(self, shape: Shape, stream: Stream) -> Inexact[Tensor, "4 *domain"]:
        return self.operators[-1].example_models(shape, stream)

    def resolve(self, prior: FittedPrior) -> Composition:
        return Composition(operators=tuple(op.resolve(prior) for op in self.operators))

    def forward(self, x: Tensor) -> Tensor:
        for operator in reversed(self.operators):
            x = operator(x)
        return x

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        for operator in reversed(self.operators):
            x, basis = operator.jacobian(x, basis)
        assert basis is not None
        return x, basis


def compose(operators: list[ForwardOperator]) -> Composition:
    """Compose right to left, flattening compositions."""
    return Composition(operators=tuple(part for operator in operators for part in operator.parts))
