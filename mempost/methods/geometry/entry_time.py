"""When Voronoi cells begin to hold the paths of a reverse flow.

With margins in squared distances, g_l(u) = |u - x_l|^2 - |u - x_i|^2, the cell of x_i with margin
delta is V_i = {u: g_l(u) >= delta for all l}. Along du/ds = xbar - u every g_l, which is affine in
u, obeys g_l' = g_l(xbar) - g_l(u). In V_i the weights of the others sum to at most
(N - 1) exp(-delta e^{2s}/2), and g_l(x_i) - g_l(x_n) = 2 (x_i - x_l).(x_i - x_n) <= 2 D_il M with
M the largest distance of two points, so that on the side g_l = delta

    g_l' >= D_il^2 - delta - 2 D_il M (N - 1) exp(-delta e^{2s}/2)  >  0

once s exceeds

    s* = (1/2) log[ (2/delta) log( 2 M (N - 1) / min_ij (D_ij - delta/D_ij) ) ].

No path leaves a cell of margin delta after s*, for 0 < delta < min D^2. Under unequal weights pi_n
the largest odds (1 - pi_n)/pi_n stand for N - 1. A path with
|u - x_i| <= K e^-s is in the cell with delta = f min D^2 from s = log(2 K / ((1 - f) min D)) on.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models" (invariance of Voronoi cells; the time is derived here).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.methods.geometry.pairwise import squared_distances


def entry_time(
    points: Float[Tensor, "n d"], delta: float, weights: Float[Tensor, " n"] | None = None
) -> float:
    """The time s* of two or more distinct points, of equal weight unless weights are given.

    Raises:
        ValueError: the margin is not between 0 and the smallest squared distance.
    """
    squared = pairs(points)
    if not 0 < delta < float(squared.min()):
        raise ValueError(
            f"the margin is {delta:g}; allowed are values between 0 and the smallest squared "
            f"distance {float(squared.min()):g}"
        )
    apart = squared.sqrt()
    largest, gain = float(apart.max()), float((apart - delta / apart).min())
    odds = len(points) - 1.0 if weights is None else float(weights.sum() / weights.min()) - 1
    return 0.5 * math.log(2 / delta * math.log(2 * largest * odds / gain))


def inside(u: Float[Tensor, "k d"], points: Float[Tensor, "n d"], delta: float) -> Tensor:
    """The point whose cell of margin delta holds each state, (k,); -1 where none does."""
    two, index = squared_distances(u, points).topk(2, dim=1, largest=False)
    return torch.where(two[:, 1] - two[:, 0] >= delta, index[:, 0], -1)


def pairs(points: Float[Tensor, "n d"]) -> Float[Tensor, " pairs"]:
    """Squared distances of all pairs."""
    rows, columns = torch.triu_indices(len(points), len(points), 1)
    return squared_distances(points, points)[rows, columns]
