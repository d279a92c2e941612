"""Rejection: keep a draw x of the prior with probability exp(-|y - F(x)|^2 / (2 gamma^2))."""

import torch
from pydantic import Field

from mempost import Samples, TiledSampler
from mempost.core.streams import TILE


class Rejection(TiledSampler):
    """Exact draws by rejection from the prior, for problems where that is affordable."""

    tags = frozenset({"exact", "uses_noise_level"})
    rounds: int = Field(1000, ge=1)

    def sample_tile(self, problem, tile, streams, progress=None):
        x = torch.full((TILE, problem.dimension), float("nan"), dtype=problem.prior.dtype)
        for k in range(self.rounds):
            stream = streams.at(tile, k)
            proposal = problem.prior.draw_tile(stream)
            misfit = problem.whitened_residual(proposal).square().sum(-1) / 2
            take = x.isnan().any(-1) & (stream.uniform((TILE,)).log() < -misfit)
            x = torch.where(take[:, None], proposal, x)
            if not x.isnan().any():
                break
        return Samples(x[:, None])
