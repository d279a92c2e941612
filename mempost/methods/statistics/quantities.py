"""Test quantities: functions q(x) whose ranks are examined.

Calibration says something about every q, and a test sees only the q it is given. Coordinates see
marginals; projections on random directions and the norm see the dependence between coordinates. All
of these pass draws from the prior, made without a look at the data: what sees those is a function
of the data too, and log p(y | x) is the natural one
(Modrak, Moon, Kim, Buerkner, Huurre, Faltejskova, Gelman & Vehtari 2023, "Simulation-based
calibration checking for Bayesian computation: The choice of test quantities shapes sensitivity").
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeInt
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.noise import stack, unstack
from mempost.core.plugin import Recipe
from mempost.core.result import Result
from mempost.methods.statistics import ranks
from mempost.methods.statistics.distances import directions

_ROWS = 4096
"""States that are mapped forward at a time."""


class Ranks(NamedTuple):
    """Randomised ranks of all quantities; the first ``coordinates`` of them are coordinates."""

    names: tuple[str, ...]
    u: Float[Tensor, "q t"]
    coordinates: int


class Quantities(Recipe):
    """Functions of x, in the prior's coordinates."""

    coordinates: Literal["all"] | Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (
        Field("all", description="coordinates to rank, from 0")
    )
    norm: bool = Field(True, description="the Euclidean norm")
    directions: int = Field(
        2, ge=0, description="projections on random directions (none in one dimension)"
    )
    log_likelihood: bool = Field(
        False, description="log p(y | x) of the truth's data, at one forward map a draw"
    )

    def of(self, result: Result, every: int = 1) -> Ranks | None:
        """Ranks of the truths of a calibration run; None outside of one."""
        found = ranks.calibration_draws(result, every)
        if found is None:
            return None
        stream = result.streams.at(tile=ranks.TIES, step=ranks.STEP)
        same = found.same()
        truths = self.evaluate(found.truths, result)
        values = self.evaluate(found.values, result)
        if self.log_likelihood:
            name = "log p(y | x)"
            truths[name] = log_likelihoods(found.truths[:, None], found, result)[:, 0]
            values[name] = log_likelihoods(found.values, found, result)
        u = [
            ranks.randomised_ranks(truth, draws, same, stream)
            for truth, draws in zip(truths.values(), values.values(), strict=True)
        ]
        chosen = found.truths.shape[1] if self.coordinates == "all" else len(set(self.coordinates))
        return Ranks(tuple(truths), torch.stack(u), chosen)

    def evaluate(
        self, x: Float[Tensor, "*batch d"], result: Result
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """q(x) by name."""
        d = x.shape[-1]
        chosen = range(d) if self.coordinates == "all" else self.coordinates
        if max(chosen) >= d:
            raise PluginError(
                f"quantities.coordinates: {max(chosen)}; the problem has coordinates 0 to {d - 1}"
            )
        found = {f"x_{i + 1}": x[..., i] for i in chosen}
        if d > 1 and self.directions:
            stream = result.streams.at(tile=ranks.DIRECTIONS, step=ranks.STEP)
            for k, a in enumerate(directions(d, self.directions, stream)):
                found[f"direction {k + 1}"] = (x * a).sum(-1)
        if self.norm:
            found["|x|"] = x.norm(dim=-1)
        return found


def log_likelihoods(
    x: Float[Tensor, "t k d"], draws: ranks.Draws, result: Result
) -> Float[Tensor, "t k"]:
    """log p(y_i | x_ij) for the data y_i of every truth.

    Raises:
        PluginError: the run holds no data.
    """
    if draws.data is None:
        raise PluginError("quantities.log_likelihood: this run holds no data of its truths")
    problem = result.problem
    like = problem.prior.coordinates.location
    blocks = x.flatten(0, 1).to(like).split(_ROWS)
    predicted = torch.cat([stack(problem.forward(block)).double().cpu() for block in blocks])
    y, f = draws.data[:, None], predicted.reshape(*x.shape[:2], -1)
    if problem.operator.is_complex:
        y, f = unstack(y), unstack(f)
    return problem.noise.log_density(y, f)
