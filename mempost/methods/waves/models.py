"""What the unknowns of a wave problem mean: squared slowness and velocity on the operator's grid.

A problem with waves composes the Helmholtz operator with inner ones that give it its model,

    x  ->  m (s^2/km^2, on the nodes)  ->  data,        v = 1/sqrt(m) in km/s.

Metrics and figures measure and draw v, which does not depend on the coordinates of a prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.capabilities import ask
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite


class WaveGrid(Protocol):
    """Nodes of a model in a larger grid, with the size of the model in km."""

    @property
    def extent(self) -> tuple[float, float]: ...

    def interior(self, u: Tensor) -> Tensor: ...


@runtime_checkable
class HasWaves(Protocol):
    """Waves that travel through squared slowness (n_x, n_z), as of `Helmholtz`.

    Positions of ``sources`` and ``receivers`` are (x, z) in km, ``frequencies`` in Hz, ``spacing``
    in km; ``wavefields`` gives the pressure on the grid for each source.
    """

    @property
    def grid(self) -> WaveGrid: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def spacing(self) -> float: ...
    @property
    def frequencies(self) -> tuple[float, ...]: ...
    @property
    def sources(self) -> FrozenArray: ...
    @property
    def receivers(self) -> FrozenArray: ...

    def wavefields(
        self, m: Float[Tensor, "batch n_x n_z"], frequency: float
    ) -> Complex[Tensor, "batch s N_x N_z"]: ...

    def range_shape(self, domain_shape: Shape) -> Shape: ...
    def __call__(self, x: Float[Tensor, "batch n_x n_z"]) -> Tensor: ...
    def vjp(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class WaveModels:
    """From states of a problem to the models that its waves travel through.

    Attributes:
        waves: the operator that has waves.
        inner: the operators before it, outermost first.
        shape: shape of one x.
    """

    waves: HasWaves
    inner: tuple[ForwardOperator, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, problem: InverseProblem) -> WaveModels | None:
        """The models of a problem, or None if no operator in it has waves."""
        if problem.question is None:
            return None
        parts = problem.operator.parts
        for place, part in enumerate(parts):
            if (waves := ask(part, HasWaves)) is not None:
                return cls(waves, parts[place + 1 :], problem.prior.shape)
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
