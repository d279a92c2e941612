"""Quantities of single draws, whose averages are what metrics report and compare.

    chi squared     |r|^2 / m, r the whitened residual y - F(x) of m real data; 1 at the truth
    velocity RMSE   sqrt(mean over nodes of (v - v*)^2) in km/s, for problems with waves
    memorized       1 if r = d_1 / mean(d_2, ..., d_k) is below a threshold, else 0

Copies of one state are worked out once: an exact posterior of atoms costs a few forward solves.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import ShapeError
from mempost.core.problem import InverseProblem
from mempost.core.streams import TILE
from mempost.methods.waves.models import WaveModels

PerDraw = Callable[[Tensor], Tensor]
"""x (n, d) in the prior's coordinates -> one number a draw, (n,) in float64."""


@torch.no_grad()
def chi_squared(problem: InverseProblem, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Misfit of every state per real datum, in units of the noise."""

    def misfit(block: Tensor) -> Tensor:
        return problem.whitened_residual(block).double().square().mean(1)

    return of_distinct(misfit, x)


def velocity_rmse(
    models: WaveModels, x: Float[Tensor, "n d"], truth: Float[Tensor, " d"]
) -> Float[Tensor, " n"]:
    """Root mean square error of the velocity of every state, km/s."""
    true = models.velocity(truth[None]).double()

    def error(block: Tensor) -> Tensor:
        return (models.velocity(block).double() - true).square().mean((1, 2)).sqrt()

    return of_distinct(error, x)


def of_distinct(quantity: PerDraw, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """A quantity of every row, computed in tiles of the rows that differ.

    Raises:
        ShapeError: there are no rows.
    """
    if len(x) == 0:
        raise ShapeError("a quantity of draws takes at least one draw, found none")
    distinct, place = torch.unique(x, dim=0, return_inverse=True)
    values = torch.cat([quantity(block) for block in distinct.split(TILE)])
    return values.cpu()[place.cpu()]
