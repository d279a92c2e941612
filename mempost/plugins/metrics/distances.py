"""Distances between two weighted sets of points, for many weightings at once.

Points x_i with weights u_i and y_j with weights v_j, both summing to one, are compared as measures.
Weights have a leading axis of replicates: the expensive part, sorting or pairwise distances, is
done once and serves every bootstrap replicate.

    sliced W1         mean over directions of int |F_x(t) - F_y(t)| dt of the projections
    energy distance   2 E|x - y| - E|x - x'| - E|y - y'|                  (squared)
    MMD               E k(x, x') + E k(y, y') - 2 E k(x, y)               (squared)

The expectations run over all pairs, a point with itself included, so that the last two are
nonnegative and zero for equal measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.streams import Stream
from mempost.plugins.metrics.pairwise import squared_distances

_BLOCK = 2**23


def wasserstein_1d(
    x: Float[Tensor, " n"],
    y: Float[Tensor, " m"],
    u: Float[Tensor, "replicates n"],
    v: Float[Tensor, "replicates m"],
) -> Float[Tensor, " replicates"]:
    """int |F_x(t) - F_y(t)| dt, the Wasserstein-1 distance on the line."""
    return _area_between(torch.cat([x, y]), torch.cat([u, -v], dim=1).T.contiguous())


def directions(d: int, count: int, stream: Stream) -> Float[Tensor, "count d"]:
    """Unit vectors to project on: uniform on the sphere.

    One suffices in one dimension; in two they stand at equal angles, with a random offset.
    """
    if d == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if d == 2:
        steps = torch.arange(count, dtype=torch.float64) + stream.uniform((1,))
        angles = steps * (math.pi / count)
        return torch.stack([angles.cos(), angles.sin()], 1)
    vectors = stream.normal((count, d))
    return vectors / vectors.norm(dim=1, keepdim=True)


def sliced_wasserstein(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    u: Float[Tensor, "replicates n"],
    v: Float[Tensor, "replicates m"],
    along: Float[Tensor, "count d"],
) -> Float[Tensor, " replicates"]:
    """Mean Wasserstein-1 distance of the projections on the directions ``along``."""
    weights = torch.cat([u, -v], dim=1).T.contiguous()
    projections = torch.cat([x, y]) @ along.T
    return torch.stack([_area_between(t, weights) for t in projections.unbind(1)]).mean(0)


def _area_between(
    t: Float[Tensor, " points"], weights: Float[Tensor, "points replicates"]
) -> Float[Tensor, " replicates"]:
    """int |sum of weights up to t| dt."""
    ordered, order = t.sort()
    return ordered.diff() @ weights[order].cumsum(0)[:-1].abs()


def energy(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    u: Float[Tensor, "replicates n"],
    v: Float[Tensor, "replicates m"],
) -> Float[Tensor, " replicates"]:
    """Squared energy distance (Szekely & Rizzo 2013)."""
    return -_quadratic_form(x, y, u, v, torch.sqrt)


def squared_mmd(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    u: Float[Tensor, "replicates n"],
    v: Float[Tensor, "replicates m"],
    bandwidth: float,
) -> Float[Tensor, " replicates"]:
    """Squared maximum mean discrepancy, k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2))."""
    return _quadratic_form(x, y, u, v, lambda sq: torch.exp(sq / (-2 * bandwidth**2)))


def median_distance(y: Float[Tensor, "m d"]) -> float:
    """Median distance between different points: the usual bandwidth of a Gaussian kernel."""
    i, j = torch.triu_indices(len(y), len(y), offset=1)
    return float(squared_distances(y, y)[i, j].median().sqrt())


def _quadratic_form(
    x: Tensor, y: Tensor, u: Tensor, v: Tensor, kernel: Callable[[Tensor], Tensor]
) -> Tensor:
    """sum_ij w_i w_j k(z_i, z_j) over the pooled points z = (x, y) with weights w = (u, -v)."""
    z, w = torch.cat([x, y]), torch.cat([u, -v], dim=1)
    total = w.new_zeros(len(w))
    for rows in torch.arange(len(z), device=z.device).split(max(1, _BLOCK // len(z))):
        gram = kernel(squared_distances(z[rows], z))
        total += ((w[:, rows] @ gram) * w).sum(1)
    return total
