"""A posterior on a regular grid: integrals by the trapezoid rule, densities by evaluation.

For a smooth density that vanishes at the boundary the trapezoid rule converges faster than any
power of the spacing (Trefethen & Weideman 2014, "The exponentially convergent trapezoidal rule").

Draws are exact: a node is drawn with its weight and moved by a triangular variate, which is a draw
of the (bi)linear interpolant q of the nodal densities, and kept with probability p / (2 q). Where
the grid resolves the density p / q stays close to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.posterior import Posterior
from mempost.core.problem import InverseProblem
from mempost.core.streams import TILE, Stream

_ROWS = 2**13
_PROPOSALS = 8
_BOUND = 2.0


@dataclass(frozen=True, eq=False)
class GridPosterior(Posterior):
    """p(x | y) on a box in one or two dimensions, zero outside.

    Attributes:
        problem: the inverse problem.
        lower: lower corner of the box (d,).
        upper: upper corner (d,).
        log_values: log p(x) + log p(y | x) at the nodes, one axis a dimension.
    """

    problem: InverseProblem
    lower: Float[Tensor, " d"]
    upper: Float[Tensor, " d"]
    log_values: Tensor

    @classmethod
    def evaluate(
        cls, problem: InverseProblem, lower: Tensor, upper: Tensor, intervals: tuple[int, ...]
    ) -> GridPosterior:
        """Evaluate at the nodes of a grid with so many intervals along each axis."""
        shape = tuple(n + 1 for n in intervals)
        axes = _axes(lower, upper, shape)
        index = torch.arange(math.prod(shape), device=lower.device)
        parts = [problem.log_density(_points(axes, block)) for block in index.split(_ROWS)]
        return cls(problem, lower, upper, torch.cat(parts).reshape(shape))

    # -- the grid -----------------------------------------------------------------------------

    @property
    def spacing(self) -> Float[Tensor, " d"]:
        """Distance of neighbouring nodes along each axis."""
        intervals = torch.tensor(self.log_values.shape, device=self.lower.device) - 1
        return (self.upper - self.lower) / intervals

    @property
    def axes(self) -> list[Tensor]:
        """Coordinates of the nodes along each axis."""
        return _axes(self.lower, self.upper, tuple(self.log_values.shape))

    @property
    def nodes(self) -> Float[Tensor, "n d"]:
        """All nodes, the last axis fastest."""
        return torch.cartesian_prod(*self.axes).reshape(-1, len(self.lower))

    @cached_property
    def node_weights(self) -> Float[Tensor, " n"]:
        """Probability of each node; they sum to one."""
        return torch.softmax(self._log_terms.flatten(), 0)

    @cached_property
    def log_evidence(self) -> Tensor:
        """log p(y)."""
        return torch.logsumexp(self._log_terms.flatten(), 0)

    @property
    def _log_terms(self) -> Tensor:
        """Log of value times volume, with half volumes at the boundary."""
        terms = self.log_values + self.spacing.log().sum()
        for axis, n in enumerate(self.log_values.shape):
            half = torch.zeros(n, dtype=terms.dtype, device=terms.device)
            half[[0, -1]] = 0.5
            shape = [1] * terms.ndim
            shape[axis] = n
            terms = terms + torch.log1p(-half).reshape(shape)
        return terms

    # -- the posterior ------------------------------------------------------------------------

    def _marginals(self) -> list[Tensor]:
        """Node weights along each axis."""
        w = self.node_weights.reshape(self.log_values.shape)
        return [w] if w.ndim == 1 else [w.sum(1), w.sum(0)]

    def mean(self) -> Float[Tensor, " d"]:
        return torch.stack([w @ axis for w, axis in zip(self._marginals(), self.axes)])

    def covariance(self) -> Float[Tensor, "d d"]:
        centred = [axis - m for axis, m in zip(self.axes, self.mean())]
        variances = [w @ u.square() for w, u in zip(self._marginals(), centred)]
        covariance = torch.stack(variances).diag()
        if len(centred) == 2:
            u, v = centred
            product = u @ self.node_weights.reshape(len(u), len(v)) @ v
            covariance = covariance + product * (1 - torch.eye(2).to(covariance))
        return covariance

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log p(x | y), evaluated and not interpolated."""
        values = torch.cat([self.problem.log_density(block) for block in x.split(_ROWS)])
        inside = ((x >= self.lower) & (x <= self.upper)).all(-1)
        return torch.where(inside, values - self.log_evidence, -torch.inf)

    def expectation(
        self, f: Callable[[Float[Tensor, "batch d"]], Float[Tensor, "batch k"]]
    ) -> Float[Tensor, " k"]:
        """E[f(x) | y] by the trapezoid rule, over the nodes that carry weight."""
        w, axes = self.node_weights, self.axes
        blocks = torch.nonzero(w > 1e-25)[:, 0].split(_ROWS)
        return torch.stack([w[block] @ f(_points(axes, block)) for block in blocks]).sum(0)

    @cached_property
    def _cumulative(self) -> Tensor:
        return self.node_weights.double().cumsum(0)

    def _draw(self, stream: Stream) -> Float[Tensor, "tile d"]:
        drawn = self.lower.new_empty(TILE, len(self.lower))
        missing = torch.arange(TILE, device=drawn.device)
        while len(missing):
            x, accepted = self._propose(stream, len(missing) * _PROPOSALS)
            accepted = accepted.reshape(-1, _PROPOSALS)
            done, first = accepted.any(-1), accepted.int().argmax(-1)
            x = x.reshape(*accepted.shape, -1)[torch.arange(len(first), device=x.device), first]
            drawn[missing[done]] = x[done]
            missing = missing[~done]
        return drawn

    def _propose(self, stream: Stream, n: int) -> tuple[Tensor, Tensor]:
        """``n`` draws of the interpolant, and which of them to keep."""
        d, low, high = len(self.lower), self.lower, self.upper
        u = stream.uniform((n, 2 * d + 2), torch.float64, low.device)
        cdf = self._cumulative
        node = torch.searchsorted(cdf, u[:, 0] * cdf[-1], right=True).clamp(max=len(cdf) - 1)
        step = (u[:, 1 : d + 1] + u[:, d + 1 : -1] - 1).to(low.dtype) * self.spacing
        x = low + (_points(self.axes, node) + step - low).abs()
        x = high - (high - x).abs()
        return x, _BOUND * u[:, -1] < (self.log_density(x) - self._log_interpolant(x)).exp()

    def _log_interpolant(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Log of the (bi)linear interpolant of the nodal densities."""
        place = (x - self.lower) / self.spacing
        cells = torch.tensor(self.log_values.shape, device=x.device) - 2
        corner = torch.minimum(place.long(), cells)
        part = place - corner
        terms = []
        for offset in product((0, 1), repeat=len(self.lower)):
            shift = torch.tensor(offset, device=x.device)
            hat = torch.where(shift.bool(), part, 1 - part).clamp(min=0).log().sum(-1)
            terms.append(hat + self.log_values[tuple((corner + shift).T)])
        return torch.logsumexp(torch.stack(terms), 0) - self.log_evidence


def _axes(lower: Tensor, upper: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    return [
        torch.linspace(float(low), float(high), n, dtype=lower.dtype, device=lower.device)
        for low, high, n in zip(lower, upper, shape)
    ]


def _points(axes: list[Tensor], index: Tensor) -> Float[Tensor, "k d"]:
    """Coordinates of the nodes with the given flat indices.

    By hand, since `torch.unravel_index` imports sympy, half a second in every process.
    """
    coordinates = []
    for axis in reversed(axes):
        coordinates.append(axis[index % len(axis)])
        index = index // len(axis)
    return torch.stack(coordinates[::-1], -1)
