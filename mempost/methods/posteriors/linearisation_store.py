"""F and its Jacobian at many points: what no data, noise or prior covariance changes.

For a linear model of F around a point x_n, data y enter through three statistics alone,

    G_n = J_n^T J_n,     t_n = J_n^T r_n,     q_n = |r_n|^2,        r_n = y - F(x_n),

with complex data stacked into real ones. G_n does not depend on the data either. So a Gaussian
update (see `gaussian_update`) with m data and d unknowns, m >= d, needs an m x d matrix once, to
make G_n, and one product J_n^T r_n for every further data set; noise level and prior covariance
act on d x d matrices. An m x m matrix is never formed.

Points are handled in blocks, so that the Jacobians of one block are in memory at a time. Those of a
set of points are remembered within the process, if there is room for all of them; larger sets are
computed again for other data unless they are *kept*: then each block is saved with
`mempost.core.keeping` under the hash of operator, points and precision, and read back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core import keeping
from mempost.core.memory import has_room, remember
from mempost.core.noise import stack, unstack
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.prior import State
from mempost.core.progress import Progress, silent
from mempost.core.sampler import require_finite
from mempost.core.whitening import Whitening

BLOCK = 2**22
"""Numbers in the Jacobians of one block of points."""


class Linearisation(NamedTuple):
    """F and J at the points of one block, stacked into real numbers."""

    values: Float[Tensor, "k m"]
    transposed_jacobians: Float[Tensor, "k d m"]


class Statistics(NamedTuple):
    """G_n, and for c data sets t_n and q_n, at the points of one block; sums are double."""

    gram: Float[Tensor, "k d d"]
    gradient: Float[Tensor, "k c d"]
    square: Float[Tensor, "k c"]


class Linearisations:
    """F and its Jacobian at every point of a set; equal sets share what was computed.

    Args:
        operator: F, resolved.
        points: x_n (n, d).
        shape: shape of one x.
        keep: whether to save Jacobians, and to look for saved ones.
        whitening: W where noise is not the same for all data: values and Jacobians are then those
            of W F, without missing data. What is saved is F's own, whatever the noise.
    """

    def __init__(
        self,
        operator: ForwardOperator,
        points: Float[Tensor, "n d"],
        shape: Shape,
        keep: bool = False,
        whitening: Whitening | None = None,
    ) -> None:
        self.operator, self.points, self.shape, self.keep = operator, points, shape, keep
        self.whitening = whitening
        numbers = operator.range_shape(shape)
        m = torch.Size(numbers).numel() * (2 if operator.is_complex else 1)
        self.blocks = torch.arange(len(points)).split(max(1, BLOCK // (m * points.shape[1])))
        self.size = len(points) * m * points.shape[1] * points.element_size()

    def block(self, k: int) -> Linearisation:
        """F and J at the points ``blocks[k]``.

        Raises:
            NonFiniteError: F or J is not finite at a point, whose number is named.
        """
        if has_room(self.size):
            return remember(lambda: self._white(k), "linearisation", *self._parts(k))
        return self._white(k)

    def _white(self, k: int) -> Linearisation:
        """The block in the components that are asked for."""
        found, W = self._plain(k), self.whitening
        if W is None:
            return found
        complex_data = self.operator.is_complex
        return Linearisation(*(stack(W(unstack(t) if complex_data else t)) for t in found))

    def _plain(self, k: int) -> Linearisation:
        x = self.points[self.blocks[k]]
        kept = keeping.load(self._name(k)) if self.keep else None
        if kept is not None:
            tensors = {key: t.to(x.device) for key, t in kept.tensors.items()}
            return Linearisation(tensors["values"], tensors["transposed_jacobians"])
        found = linearise(self.operator, x.reshape(-1, *self.shape), int(self.blocks[k][0]))
        if self.keep:
            self._save(k, found)
        return found

    def _parts(self, k: int) -> tuple[Any, ...]:
        """What the linearisation of a block depends on."""
        whole = (self.operator, self.points, self.shape, self.keep, self.whitening)
        return *whole, len(self.blocks), k

    def prepare(self, part: int, parts: int, progress: Progress = silent) -> None:
        """Compute and keep the blocks part, part + parts, part + 2 parts, ..."""
        mine = range(part, len(self.blocks), parts)
        for done, k in enumerate(mine):
            progress(done, len(mine))
            if not keeping.holds(self._name(k)):
                found = self.block(k) if self.whitening is None else self._plain(k)
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
        values, transposed = (t.double() for t in self.block(k))
        products = _products(y.double(), values, transposed)
        if has_room(self.points.numel() * self.points.shape[1] * transposed.element_size()):
            parts = self._parts(k)
            return Statistics(
                remember(lambda: transposed @ transposed.mT, "gram", *parts), *products
            )
        return Statistics(transposed @ transposed.mT, *products)

    def values_at(self, index: Tensor) -> Float[Tensor, "c m"]:
        """F at the points in ``index``, ascending."""
        parts = []
        for k, members in enumerate(self.blocks):
            here = index[(index >= members[0]) & (index <= members[-1])]
            if len(here):
                parts.append(self.block(k).values[here - members[0]])
        return torch.cat(parts)


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
