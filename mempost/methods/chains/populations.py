"""Populations that are drawn one by one and stand for the posterior together.

Population j gives draws and an unbiased estimate Z_j of the evidence p(y). A draw of it counts Z_j:
pooled so, the error of any number of populations of one size falls with their number, where equal
weights would leave the bias of one (Whiteley, Lee & Heine 2016, "On the role of interaction in
sequential Monte Carlo algorithms"). Draws of the pool are copied by these weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mempost.core.sampler import Samples, join_tiles
from mempost.core.streams import Streams
from mempost.methods.chains.weights import systematic

STEP = 2**32 - 1
"""Step of the streams that choose from the pool; populations are drawn at the steps before."""


def pooled(
    tiles: Sequence[Samples],
    log_evidences: Sequence[float],
    n: int,
    streams: Streams,
    of_draws: Sequence[str] = (),
) -> Samples:
    """``n`` draws from populations, one draw a chain.

    Args:
        tiles: the populations, of one size.
        log_evidences: log Z_j of each.
        n: draws of the pool.
        streams: those of sampling.
        of_draws: statistics that go with a draw; the others stay those of the populations.
    """
    joined = join_tiles(list(tiles), n)
    if len(tiles) == 1:
        return joined
    weights = torch.tensor(log_evidences, dtype=torch.float64).repeat_interleave(len(tiles[0]))
    chosen = systematic(weights, streams.at(step=STEP))[:n].to(tiles[0].values.device)

    def copied(parts: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(parts))[chosen].movedim(0, 1)

    stats = {name: copied(tile.stats[name] for tile in tiles) for name in of_draws}
    values = copied(tile.values for tile in tiles)
    return replace(joined, values=values, stats=joined.stats | stats)
