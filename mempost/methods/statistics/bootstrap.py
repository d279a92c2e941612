"""Bootstrap intervals: how far a number would move with other draws.

Units are drawn with replacement, and the interval holds the central part of the replicates
(Efron & Tibshirani 1993, "An introduction to the bootstrap"). Draws of one Markov chain depend on
one another, so with several chains the unit is the chain and not the draw. A rate of exactly 0 or
1 has an interval without length: with n units it is then known to about 3/n only.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.measured import Variable, interval
from mempost.core.streams import Stream

STEP = 1
"""Step of the metric streams for resampling; step 0 belongs to draws from posteriors."""


def resampling_counts(
    chains: int, draws: int, resamples: int, stream: Stream
) -> Float[Tensor, "resamples n"]:
    """How often each of n = chains * draws rows is picked; every row of counts sums to n.

    Whole chains are resampled where there are several, single draws otherwise.
    """
    units, per_unit = (chains, draws) if chains > 1 else (draws, 1)
    picked = stream.integers(units, (resamples, units))
    counts = torch.zeros(resamples, units, dtype=torch.float64)
    counts.scatter_add_(1, picked, torch.ones_like(counts))
    return counts.repeat_interleave(per_unit, dim=1)


def percentile_interval(
    replicates: Float[Tensor, resamples * shape], confidence: float
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The central ``confidence`` part of the replicates."""
    tail = (1 - confidence) / 2
    levels = replicates.new_tensor([tail, 1 - tail])
    low, high = torch.quantile(replicates, levels, dim=0)
    return low, high


def mean_with_interval(
    values: Float[Tensor, "chains draws"],
    confidence: float,
    resamples: int,
    stream: Stream,
) -> Variable:
    """A mean over draws and its interval, for `Measured`."""
    flat = values.double().flatten().cpu()
    chains, draws = values.shape
    counts = resampling_counts(chains, draws, resamples, stream)
    low, high = percentile_interval(counts @ flat / len(flat), confidence)
    return interval(flat.mean(), low, high)
