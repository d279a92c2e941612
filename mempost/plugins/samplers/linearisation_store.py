"""F and its Jacobian at many points: what no data, noise or prior covariance changes.

For a linear model of F around a point x_n, data y enter through three statistics alone,

    G_n = J_n^T J_n,     t_n = J_n^T r_n,     q_n = |r_n|^2,        r_n = y - F(x_n),

with complex data stacked into real ones. G_n does not depend on the data either. So a Gaussian
update (see `gaussian_update`) with m data and d unknowns, m >= d, needs an m x d matrix once, to
make G_n, and one product J_n^T r_n for every further data set; noise level and prior covariance
act on d x d matrices. An m x m matrix is never formed.

Points are handled in blocks, so that the Jacobians of one block are in memory at a time. The
Jacobians of sets of points used last are remembered within the process, as far as `REMEMBERED`
numbers go; larger ones are computed again for other data unless they are *kept*: then each block is
saved with `mempost.core.keeping` under the hash of operator, points and precision, and read back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core import keeping
from mempost.core.noise import stack
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.prior import State
from mempost.core.progress import Progress, silent
from mempost.core.sampler import require_finite

BLOCK = 2**22
"""Numbers in the Jacobians of one block of points."""
REMEMBERED = 2**27
"""Numbers in the Jacobians remembered within the process, of all sets of points together."""


class Linearisation(NamedTuple):
    """F and J at the points of one block, stacked into real numbers."""

    values: Float[Tensor, "k m"]
    transposed_jacobians: Float[Tensor, "k d m"]


class Statistics(NamedTuple):
    """G_n, and for c data sets t_n and q_n, at the points of one block."""

    gram: Float[Tensor, "k d d"]
    gradient: Float[Tensor, "k c d"]
    square: Float[Tensor, "k c"]


class Linearisations:
    """F and its Jacobian at every point of a set; made by `linearisations`.

    Args:
        operator: F, resolved.
        points: x_n (n, d).
        shape: shape of one x.
        keep: whether to save Jacobians, and to look for saved ones.
    """

    def __init__(
        self, operator: ForwardOperator, points: Float[Tensor, "n d"], shape: Shape, keep: bool
    ) -> None:
        self.operator, self.points, self.shape, self.keep = operator, points, shape, keep
        numbers = operator.range_shape(shape)
        m = torch.Size(numbers).numel() * (2 if operator.is_complex else 1)
        self.blocks = torch.arange(len(points)).split(max(1, BLOCK // (m * points.shape[1])))
        self.numbers = len(points) * m * points.shape[1]
        self._remembered: dict[int, Linearisation] = {}
        self._grams: dict[int, Tensor] = {}

    def block(self, k: int) -> Linearisation:
        """F and J at the points ``blocks[k]``.

        Raises:
            NonFiniteError: F or J is not finite at a point, whose number is named.
        """
        if k in self._remembered:
            return self._remembered[k]
        x = self.points[self.blocks[k]]
        kept = keeping.load(self._name(k)) if self.keep else None
        if kept is not None:
            tensors = {key: t.to(x.device) for key, t in kept.tensors.items()}
            found = Linearisation(tensors["values"], tensors["transposed_jacobians"])
        else:
            found = linearise(self.operator, x.reshape(-1, *self.shape), int(self.blocks[k][0]))
            if self.keep:
                self._save(k, found)
        if self.numbers <= REMEMBERED:
            self._remembered[k] = found
        return found

    def prepare(self, part: int, parts: int, progress: Progress = silent) -> None:
        """Compute and keep the blocks part, part + parts, part + 2 parts, ..."""
        mine = range(part, len(self.blocks), parts)
        for done, k in enumerate(mine):
            progress(done, len(mine))
            if not keeping.holds(self._name(k)):
                found = self.block(k)
                if not keeping.holds(self._name(k)):  # it was remembered, from another study
                    self._save(k, found)

    def _save(self, k: int, found: Linearisation) -> None:
        tensors = {name: t.contiguous() for name, t in found._asdict().items()}
        keeping.save(self._name(k), State(tensors, {}))

    def _name(self, k: int) -> str:
        points = self.points[self.blocks[k]]
        return f"jacobian-{keeping.content_hash(self.operator, points, code=__name__)}"

    def block_statistics(self, k: int, y: Float[Tensor, "c m"]) -> Statistics:
        """G_n, t_n and q_n of one block for c data sets."""
        values, transposed = self.block(k)
        if k not in self._grams:
            gram = transposed @ transposed.mT
            if len(self.points) * self.points.shape[1] ** 2 > REMEMBERED:
                return Statistics(gram, *_products(y, values, transposed))
            self._grams[k] = gram
        return Statistics(self._grams[k], *_products(y, values, transposed))

    def values_at(self, index: Tensor) -> Float[Tensor, "c m"]:
        """F at the points in ``index``, ascending."""
        parts = []
        for k, members in enumerate(self.blocks):
            here = index[(index >= members[0]) & (index <= members[-1])]
            if len(here):
                parts.append(self.block(k).values[here - members[0]])
        return torch.cat(parts)

    @property
    def remembered(self) -> int:
        """Numbers in the Jacobians that are remembered, or will be."""
        return self.numbers if self.numbers <= REMEMBERED else 0


_last: OrderedDict[Any, Linearisations] = OrderedDict()


def linearisations(
    operator: ForwardOperator, points: Float[Tensor, "n d"], shape: Shape, keep: bool = False
) -> Linearisations:
    """The linearisations at a set of points; equal ones that were used before are reused."""
    key = (operator, keeping.content_hash(points), points.device, shape, keep)
    if key not in _last:
        _last[key] = Linearisations(operator, points, shape, keep)
    _last.move_to_end(key)
    while len(_last) > 1 and sum(known.remembered for known in _last.values()) > REMEMBERED:
        _last.popitem(last=False)
    while len(_last) > 8:
        _last.popitem(last=False)
    return _last[key]


def _products(y: Tensor, values: Tensor, transposed: Tensor) -> tuple[Tensor, Tensor]:
    r = y - values[:, None]
    return r @ transposed.mT, r.square().sum(-1)


def linearise(
    operator: ForwardOperator, x: Float[Tensor, "k *shape"], first: int = 0
) -> Linearisation:
    """F and J at models x, stacked; ``first`` is the number of the first one, for messages."""
    y, jacobian = operator.jacobian(x)
    transposed = stack(jacobian.mT.resolve_conj()).contiguous()
    if not torch.isfinite(transposed.sum()):  # a fraction of the cost of looking at each number
        name = "the Jacobian of F at the mean of a component"
        require_finite(transposed, name, first_sample=first)
    values = stack(y.flatten(1))
    require_finite(values, "F at the mean of a component", first_sample=first)
    return Linearisation(values, transposed.expand(len(x), -1, -1))
