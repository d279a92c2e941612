"""The draws of a run, tile by tile: of one sampler, for one observation or for many truths."""

from __future__ import annotations

from dataclasses import dataclass

from mempost.core.progress import Progress
from mempost.core.sampler import (
    PosteriorSampler,
    Samples,
    TiledSampler,
    join_tiles,
    require_finite,
)
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
        """
        setting, sampler = self.setting, self.sampler
        sampler.check(own.problem)
        streams = Streams(setting.seed, "sampling")
        if setting.calibration is not None:
            samples = draw_for_truths(setting, common, own, sampler, self.n, tile, progress)
        elif isinstance(sampler, TiledSampler):
            samples = sampler.sample_tile(own.problem, tile, streams, progress)
        else:
            samples = sampler.sample(own.problem, self.n, streams, progress)
        self._require_finite(tile, samples)
        return samples

    def join(self, tiles: list[Samples]) -> Samples:
        """All draws, from those of the tiles."""
        if self.setting.calibration is not None:
            return join_truths(tiles)
        if isinstance(self.sampler, TiledSampler):
            return join_tiles(tiles, self.n)
        return tiles[0]

    def _require_finite(self, tile: int, samples: Samples) -> None:
        """Refuse non-finite draws, but for those that only fill up the last tile."""
        calibration = self.setting.calibration
        chains, draws, _ = samples.values.shape
        most, size = (self.n, chains) if calibration is None else (calibration.truths, TILE)
        wanted = samples.values[: most - tile * size].flatten(0, 1)
        require_finite(wanted, "x", first_sample=tile * size * draws)
