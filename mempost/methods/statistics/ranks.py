"""Randomised ranks of truths among draws: uniform numbers, exactly, if the draws are right.

The truth x and L independent draws from p(x | y) are exchangeable. So for any function q of x the
place of q(x) among the q(draws) is uniform, and with ties broken at random

    u = (#{draws < x} + V (#{draws = x} + 1)) / (L + 1),       V ~ U[0, 1),

is uniform on [0, 1) for every finite L, whether the posterior is continuous or made of atoms. A
rank that counts draws < x alone is not: under an atomic prior most draws equal the truth. Equal
means equal in q, or in x itself, whose copies stay exact where sums may round differently.

Draws have to be independent given y. Consecutive states of a Markov chain are not: the truth then
falls outside of them too often, however right the chain. Thin them, or take one state a chain.

References: Cook, Gelman & Rubin 2006, "Validation of software for Bayesian models using posterior
quantiles"; Talts, Betancourt, Simpson, Vehtari & Gelman 2018, "Validating Bayesian inference
algorithms with simulation-based calibration".
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from mempost.core.result import Result
from mempost.core.streams import Stream

STEP = 2
"""Step of the metric streams for calibration."""
TIES, DIRECTIONS, REFERENCES, DISTANCE_TIES, RESAMPLING = range(5)
"""Tiles of these streams, one for each use."""


class Draws(NamedTuple):
    """Truths, draws from the posterior of each in the prior's coordinates, and data if known."""

    truths: Float[Tensor, "t d"]
    values: Float[Tensor, "t draws d"]
    data: Float[Tensor, "t m_real"] | None = None

    def same(self) -> Bool[Tensor, "t draws"]:
        """Which draws are the truth itself."""
        return (self.values == self.truths[:, None]).all(-1)


def calibration_draws(result: Result, every: int = 1) -> Draws | None:
    """Truths and every ``every``-th draw, in float64 on the CPU; None outside calibration runs."""
    samples = result.samples
    if samples.truths is None:
        return None
    data = None if samples.data is None else samples.data.double().cpu()
    values = samples.values[:, every - 1 :: every].double().cpu()
    return Draws(samples.truths.double().cpu(), values, data)


def randomised_ranks(
    truth: Float[Tensor, "t"],
    draws: Float[Tensor, "t draws"],
    same: Bool[Tensor, "t draws"],
    stream: Stream,
) -> Float[Tensor, "t"]:
    """u of every truth; ``same`` says which draws count as ties whatever their rounding."""
    tied = (draws == truth[:, None]) | same
    below = (draws < truth[:, None]) & ~tied
    v = stream.uniform((len(truth),))
    return (below.sum(1) + v * (tied.sum(1) + 1)) / (draws.shape[1] + 1)


def folded(u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """|2u - 1|: 0 in the middle of the draws, 1 at their ends; uniform where u is.

    It is the level of the central credible interval that ends at the truth.
    """
    return (2 * u - 1).abs()
