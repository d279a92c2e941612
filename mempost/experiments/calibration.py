"""Drawing for many truths: what calibration is measured on.

Truth i is x_i from the prior (or an example), its data y_i = F(x_i) + n_i with noise of its own,
and the sampler draws from p(x | y_i) with streams of its own. The noise level is that of the
spec's observation, the same for all truths.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import SpecError
from mempost.core.noise import stack
from mempost.core.progress import Progress
from mempost.core.sampler import PosteriorSampler, Samples
from mempost.core.streams import TILE, Streams
from mempost.experiments.build import Setup
from mempost.experiments.setting import Setting


def truths_of(spec: Setting, common: Setup) -> Float[Tensor, "t d"]:
    """The truths, in the coordinates of the study's common prior.

    Raises:
        SpecError: there are not as many examples.
    """
    assert spec.calibration is not None
    number, source = spec.calibration.truths, spec.calibration.source
    if source == "prior":
        return common.problem.prior.sample(number, Streams(spec.observation_seed, "truth"))
    if common.data is None:
        raise SpecError(f"calibration.source: {source}, and the spec has no data")
    examples = common.data.train if source == "train" else common.data.held_out
    if number > len(examples):
        raise SpecError(
            f"calibration.truths: {number}, and there are {len(examples)} examples ({source})"
        )
    return examples[:number].flatten(1)


def draw_for_truths(
    spec: Setting,
    common: Setup,
    own: Setup,
    sampler: PosteriorSampler,
    n: int,
    tile: int,
    progress: Progress,
) -> Samples:
    """``n`` draws of a sampler for each of the `TILE` truths of a tile (fewer in the last one)."""
    truths = truths_of(spec, common)
    here = range(tile * TILE, min((tile + 1) * TILE, len(truths)))
    parts: list[Samples] = []
    data: list[Tensor] = []
    for done, i in enumerate(here):
        y = common.simulate(truths[i])
        stream = Streams(spec.observation_seed, "noise").at(tile=i, step=1)
        noisy = common.problem.observe(y, stream)
        streams = Streams(spec.seed, "sampling").branch(i)
        problem = own.problem.with_data(noisy)
        parts.append(sampler.sample(problem, n, streams))
        data.append(stack(noisy.flatten()))
        progress(done + 1, len(here), f"truth {i}")
    in_tile = truths[here.start : here.stop]
    if own is not common:  # otherwise not a bit may change: atoms tie with their draws
        raw = common.problem.prior.coordinates.to_raw(in_tile)
        in_tile = own.problem.prior.coordinates.from_raw(raw)
    return Samples(
        torch.stack([part.flat for part in parts]),
        {k: torch.stack([p.stats[k].flatten(0, 1) for p in parts]) for k in parts[0].stats},
        in_tile,
        torch.stack(data),
    )


def join_truths(tiles: list[Samples]) -> Samples:
    """The draws of all tiles of truths."""
    data = [t.data for t in tiles if t.data is not None]
    return Samples(
        torch.cat([t.values for t in tiles]),
        {k: torch.cat([t.stats[k] for t in tiles]) for k in tiles[0].stats},
        torch.cat([t.truths for t in tiles if t.truths is not None]),
        torch.cat(data) if len(data) == len(tiles) else None,
    )
