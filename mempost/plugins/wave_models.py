"""What the unknowns of a wave problem mean: squared slowness and velocity on the operator's grid.

A problem with waves composes the Helmholtz operator with inner ones that give it its model,

    x  ->  m (s^2/km^2, on the nodes)  ->  data,        v = 1/sqrt(m) in km/s.

Metrics and figures measure and draw v, which does not depend on the coordinates of a prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.operator import Composition, ForwardOperator
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.plugins.operators.helmholtz.operator import Helmholtz


@dataclass(frozen=True)
class WaveModels:
    """From states of a problem to the models that its waves travel through.

    Attributes:
        waves: the Helmholtz operator.
        inner: the operators before it, outermost first.
        shape: shape of one x.
    """

    waves: Helmholtz
    inner: tuple[ForwardOperator, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, problem: InverseProblem) -> WaveModels | None:
        """The models of a problem, or None if there is no Helmholtz operator in it."""
        if problem.question is None:
            return None
        operator = problem.operator
        parts = operator.operators if isinstance(operator, Composition) else (operator,)
        for place, part in enumerate(parts):
            if isinstance(part, Helmholtz):
                return cls(part, tuple(parts[place + 1 :]), problem.prior.shape)
        return None

    @torch.no_grad()
    def squared_slowness(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n_x n_z"]:
        """m on the nodes of the waves' grid."""
        m = x.reshape(-1, *self.shape)
        for operator in reversed(self.inner):
            m = operator(m)
        return m

    def velocity(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n_x n_z"]:
        """v on the nodes, in km/s.

        Raises:
            NonFiniteError: a squared slowness is not positive.
        """
        return require_finite(self.squared_slowness(x).rsqrt(), "velocity")
