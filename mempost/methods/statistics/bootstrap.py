"""The bootstrap: units drawn with replacement (Efron & Tibshirani 1993).

Draws of one Markov chain depend on one another, so with several chains the unit is the chain and
not the draw. What intervals are made of it says `intervals`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

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
