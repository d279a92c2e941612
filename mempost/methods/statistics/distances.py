"""Distances between two weighted sets of points, for many weightings at once.

Points z_i carry signed weights w_i: the positive ones sum to 1 and make one measure, the negative
ones sum to -1 and make the other.

    sliced W1         mean over directions of int |sum of w_i with z_i up to t| dt, projected
    energy distance   2 E|x - y| - E|x - x'| - E|y - y'| = -sum_ij w_i w_j |z_i - z_j|     (squared)
    MMD               sum_ij w_i w_j k(z_i, z_j)                                           (squared)

The last two are nonnegative, and zero for equal measures. Weights have a leading axis of
replicates: the expensive part, sorting or pairwise distances, is done once and serves all of them.

References: Szekely & Rizzo 2013, "Energy statistics"; Gretton et al. 2012, "A kernel two-sample
test".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.streams import Stream
from mempost.methods.geometry.pairwise import squared_distances

_BLOCK = 2**23

Statistic = Callable[[Tensor, Tensor], Tensor]
"""A distance (or its square): points z (n, d), weights w (replicates, n) -> (replicates,)."""


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
    z: Float[Tensor, "n d"], w: Float[Tensor, "replicates n"], along: Float[Tensor, "count d"]
) -> Float[Tensor, " replicates"]:
    """Mean Wasserstein-1 distance of the projections on the directions ``along``."""
    weights = w.T.contiguous()

    def area_between(t: Tensor) -> Tensor:
        ordered, order = t.sort()
        return ordered.diff() @ weights[order].cumsum(0)[:-1].abs()

    return torch.stack([area_between(t) for t in (z @ along.T).unbind(1)]).mean(0)


def squared_energy_distance(
    z: Float[Tensor, "n d"], w: Float[Tensor, "replicates n"]
) -> Float[Tensor, " replicates"]:
    """Squared energy distance."""
    return -_quadratic_form(z, w, torch.sqrt)


def squared_mmd(
    z: Float[Tensor, "n d"], w: Float[Tensor, "replicates n"], bandwidth: float
) -> Float[Tensor, " replicates"]:
    """Squared maximum mean discrepancy, k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2))."""
    return _quadratic_form(z, w, lambda squared: torch.exp(squared / (-2 * bandwidth**2)))


def median_distance(y: Float[Tensor, "m d"]) -> float:
    """Median distance between different points: the usual bandwidth of a Gaussian kernel."""
    i, j = torch.triu_indices(len(y), len(y), offset=1, device=y.device)
    return float(squared_distances(y, y)[i, j].median().sqrt())


def _quadratic_form(z: Tensor, w: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """sum_ij w_i w_j kernel(|z_i - z_j|^2)."""
    total = w.new_zeros(len(w))
    size = max(1, _BLOCK // len(z))
    for rows, weights in zip(z.split(size), w.split(size, dim=1), strict=True):
        total += ((weights @ kernel(squared_distances(rows, z))) * w).sum(1)
    return total
