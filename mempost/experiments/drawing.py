"""The draws of a run, tile by tile: of one sampler, for one observation or for many truths."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mempost.core.progress import Progress
from mempost.core.sampler import PosteriorSampler, Samples, TiledSampler, require_finite
from mempost.core.streams import TILE, Streams, n_tiles
from mempost.experiments.build import Setup
from mempost.experiments.calibration import draw_for_truths, join_truths
from mempost.experiments.setting import Setting


@dataclass(frozen=True)
class Draws:
    """``n`` draws (or chains) of a sampler in a setting, or as many for each of its truths."""

    setting: Setting
    sampler: PosteriorSampler
    n: int

    @property
    def tiles(self) -> int:
        """Number of pieces that are drawn one by one."""
        if self.setting.calibration is not None:
            return n_tiles(self.setting.calibration.truths)
        return self.sampler.tiles(self.n) if isinstance(self.sampler, TiledSampler) else 1

    def draw(self, tile: int, common: Setup, own: Setup, progress: Progress) -> Samples:
        """The draws of a tile.

        Args:
            tile: which one.
            common: the problem under the study's prior, from which truths and data come.
            own: the problem under the sampler's prior, which it answers.
            progress: told of the steps.

        Raises:
            NonFiniteError: a draw that was asked for is not finite.
            DivergenceError: it is, and lies far out of what the prior gives (an iteration).
        """
        setting, sampler = self.setting, self.sampler
        sampler.check(own.problem)
        streams = Streams(setting.seed, "sampling")
        if setting.calibration is not None:
            samples = draw_for_truths(setting, common, own, sampler, self.n, tile, progress)
        elif isinstance(sampler, TiledSampler):
            rows = sampler.rows_of(tile, self.n)
            samples = sampler.sample_rows(own.problem, tile, rows, streams, progress)
        else:
            samples = sampler.sample(own.problem, self.n, streams, progress)
        wanted = self._wanted(tile, samples)
        first = tile * (len(samples.values) if setting.calibration is None else TILE)
        require_finite(wanted, "x", first_sample=first * samples.values.shape[1])
        return samples

    def join(self, tiles: list[Samples]) -> Samples:
        """All draws, from those of the tiles."""
        if self.setting.calibration is not None:
            return join_truths(tiles)
        if isinstance(self.sampler, TiledSampler):
            return self.sampler.join(tiles, self.n, Streams(self.setting.seed, "sampling"))
        return tiles[0]

    def _wanted(self, tile: int, samples: Samples) -> Float[Tensor, "rows d"]:
        """The draws of a tile but for those that only fill up the last one."""
        calibration, chains = self.setting.calibration, len(samples.values)
        most, size = (self.n, chains) if calibration is None else (calibration.truths, TILE)
        return samples.values[: most - tile * size].flatten(0, 1)
