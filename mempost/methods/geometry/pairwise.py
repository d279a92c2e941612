"""Euclidean distances between two sets of points, by matrix products.

    |a_i - b_j|^2 = |a_i|^2 + |b_j|^2 - 2 a_i . b_j

costs one matrix product, but loses its digits where a_i and b_j nearly agree: exactly the copies
that a memorization metric looks for. So the points are centred, the product is formed in float64,
and distances in which it cancels are computed again from the differences. The centre is a median,
which a few extreme points do not move: one value of 1e20 must not cost the others their digits.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_CANCELLATION = 1e-4
_BLOCK = 2**22  # numbers held at a time
_CENTRING = 1000  # points of which the median is taken


def squared_distances(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """|a_i - b_j|^2 in float64, with a relative error of about 1e-11 however close they are."""
    a, b = a.double(), b.double()
    centre = middle(b)
    p, q = a - centre, b - centre
    norms = p.square().sum(-1)[:, None] + q.square().sum(-1)
    squared = torch.addmm(norms, p, q.T, alpha=-2)
    row, column = torch.nonzero(~(squared >= _CANCELLATION * norms), as_tuple=True)
    for i, j in zip(_split(row, a), _split(column, b), strict=True):
        squared[i, j] = (a[i] - b[j]).square().sum(-1)
    return squared


def nearest_distances(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"], k: int
) -> tuple[Float[Tensor, "n k"], Tensor]:
    """The k smallest distances of every query, ascending, and the indices (n, k) of the points.

    In float64, with a relative error of about 1e-11 however close a point is.
    """
    distances, indices = [], []
    for block in queries.split(max(1, _BLOCK // len(points))):
        squared, index = squared_distances(block, points).topk(k, dim=1, largest=False)
        distances.append(squared.sqrt())
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)


def middle(points: Float[Tensor, "m d"]) -> Float[Tensor, " d"]:
    """The median of every coordinate, of at most a thousand of the points.

    Half-way between two where their number is even: points that are symmetric about the origin have
    it as their middle, so that what is computed about it is as symmetric as they are.
    """
    some = points[:: max(1, len(points) // _CENTRING)].sort(0).values
    return some[(len(some) - 1) // 2] / 2 + some[len(some) // 2] / 2


def _split(index: Tensor, points: Float[Tensor, "n d"]) -> tuple[Tensor, ...]:
    """Index blocks whose points fit into memory."""
    return index.split(max(1, _BLOCK // max(1, points.shape[1])))
