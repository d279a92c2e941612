"""Posterior samplers: from an inverse problem to samples.

Three shapes of sampler: one whose answer is closed form (`ExactSampler`: override ``posterior``),
one that computes tiles of samples independently (`TiledSampler`: override ``sample_tile``; the
runner spreads tiles over workers and keeps finished ones), and one whose samples depend on one
another, with the tag ``interacting`` (subclass `PosteriorSampler` itself, or `TiledSampler` where a
tile is a population of its own).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import NonFiniteError
from mempost.core.plugin import Plugin
from mempost.core.posterior import Posterior
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.streams import TILE, Streams
from mempost.core.tags import refuse_overridden
from mempost.core.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Samples:
    """Draws with axes (chain, draw, dimension), and statistics that start with the same axes.

    Independent draws stand along ``draw`` in a single chain. In a calibration run every chain holds
    the draws for one data set, ``truths`` the x that these data come from, and ``data`` the data,
    flat and with complex numbers stacked (`mempost.core.noise.stack`). A reverse process that was
    asked to has a ``trajectory``.
    """

    values: Float[Tensor, "chain draw d"]
    stats: dict[str, Tensor] = field(default_factory=dict)
    truths: Float[Tensor, "chain d"] | None = None
    data: Float[Tensor, "chain m_real"] | None = None
    trajectory: Trajectory | None = None

    @classmethod
    def independent(cls, x: Float[Tensor, "n d"]) -> Samples:
        """n independent draws as one chain."""
        return cls(x[None])

    @property
    def flat(self) -> Float[Tensor, "n d"]:
        """All draws of all chains, (chain * draw, d)."""
        return self.values.flatten(0, 1)

    def __len__(self) -> int:
        return self.values.shape[0] * self.values.shape[1]

    def to(self, device: torch.device | str) -> Samples:
        """The same draws on another device."""
        stats = {k: v.to(device) for k, v in self.stats.items()}
        truths = None if self.truths is None else self.truths.to(device)
        data = None if self.data is None else self.data.to(device)
        path = self.trajectory
        path = None if path is None else path.with_states(path.z.to(device))
        return Samples(self.values.to(device), stats, truths, data, path)


def join_tiles(tiles: list[Samples], n: int) -> Samples:
    """One `Samples` from tiles of chains, cut to ``n`` chains; single draws become one chain."""
    single = tiles[0].values.shape[1] == 1

    def join(parts: Iterable[Tensor]) -> Tensor:
        whole = torch.cat(list(parts))[:n]
        return whole.movedim(0, 1) if single else whole

    stats = {k: join(t.stats[k] for t in tiles) for k in tiles[0].stats}
    paths = [t.trajectory for t in tiles if t.trajectory is not None]
    path = paths[0].with_states(join(p.z for p in paths)) if paths else None
    return Samples(join(t.values for t in tiles), stats, trajectory=path)


def require_finite(
    x: Tensor, quantity: str, step: int | None = None, first_sample: int = 0
) -> Tensor:
    """Return x (batch, ...) or raise `NonFiniteError` naming step, sample and quantity."""
    if not torch.isfinite(x).all():
        bad = (~torch.isfinite(x)).reshape(len(x), -1).any(-1)
        raise NonFiniteError(quantity, step, first_sample + int(torch.nonzero(bad)[0]))
    return x


def require_possible(log_likelihood: Float[Tensor, " n"], quantity: str) -> Tensor:
    """Return log p(y | x) or raise `NonFiniteError`; it may be -inf at some x, but not at all."""
    if log_likelihood.isneginf().all():
        raise NonFiniteError(f"every {quantity}")
    require_finite(torch.where(log_likelihood.isneginf(), 0.0, log_likelihood), quantity)
    return log_likelihood


class PosteriorSampler(Plugin, ABC):
    """A method that draws from p(x | y), exactly or approximately.

    Work that many data sets share (Jacobians of all training examples) can be spread over workers
    and survive a kill: a sampler with ``preparations`` > 0 is asked to ``prepare`` each of these
    parts before it samples, and keeps what it makes with `mempost.core.keeping`.
    """

    remedy: ClassVar[str] = ""
    """What to change where it diverges: the end of the message, such as "take smaller steps"."""

    @property
    def advice(self) -> str:
        """The remedy, as it stands for these hyper-parameters."""
        return self.remedy

    @property
    def preparations(self) -> int:
        """Number of independent parts of the work that comes before sampling."""
        return 0

    def prepare(self, problem: InverseProblem, part: int, progress: Progress = silent) -> None:
        """Do one part of the work that comes before sampling, and keep it."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        refuse_overridden(cls, {"uses_noise_level": "uses_noise_level"})

    @property
    def needs_question(self) -> bool:
        """Whether it draws given data; False for one that draws from the prior alone."""
        return True

    def nfe(self, prior: FittedPrior) -> int | None:
        """Denoiser calls that one sample takes under a prior, where their number is fixed."""
        return None

    def check(self, problem: InverseProblem) -> None:
        """Raise `PluginError` if the method does not apply to the problem."""

    def posterior(self, problem: InverseProblem) -> Posterior | None:
        """The answer in closed form, where there is one."""
        return None

    @abstractmethod
    def sample(
        self, problem: InverseProblem, n: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        """``n`` draws, or ``n`` chains of draws."""


class ExactSampler(PosteriorSampler):
    """A sampler whose posterior is closed form; authors override ``posterior``."""

    @abstractmethod
    def posterior(self, problem: InverseProblem) -> Posterior:
        """The posterior in closed form."""

    def sample(
        self, problem: InverseProblem, n: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        draws = Samples.independent(self.posterior(problem).sample(n, streams))
        progress(n, n)
        return draws


class TiledSampler(PosteriorSampler):
    """A sampler that computes a tile of chains at a time; authors override ``sample_tile``."""

    @property
    def tile_size(self) -> int:
        """Chains in a tile, the same for every tile of a run; a multiple of `TILE`."""
        return TILE

    def tiles(self, n: int) -> int:
        """Number of tiles that hold ``n`` chains."""
        return -(-n // self.tile_size)

    @abstractmethod
    def sample_tile(
        self, problem: InverseProblem, tile: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        """Chain tile * tile_size and those that follow, with (tile_size, draw, d) values."""

    def sample_rows(
        self,
        problem: InverseProblem,
        tile: int,
        rows: int,
        streams: Streams,
        progress: Progress = silent,
    ) -> Samples:
        """A tile of which the first ``rows`` chains are asked for; the others may be anything."""
        return self.sample_tile(problem, tile, streams, progress)

    def rows_of(self, tile: int, n: int) -> int:
        """How many chains of a tile are asked for, of ``n`` in all."""
        return min(n - tile * self.tile_size, self.tile_size)

    def sample(
        self, problem: InverseProblem, n: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        self.check(problem)
        tiles: list[Samples] = []
        for k in range(self.tiles(n)):

            def report(done: int, total: int, note: str = "", k: int = k) -> None:
                progress(k * total + done, self.tiles(n) * total, note)

            tiles.append(self.sample_rows(problem, k, self.rows_of(k, n), streams, report))
        return self.join(tiles, n, streams)

    def join(self, tiles: list[Samples], n: int, streams: Streams) -> Samples:
        """All ``n`` chains, from those of the tiles; authors override it where tiles weigh."""
        return join_tiles(tiles, n)


__all__ = [
    "TILE",
    "ExactSampler",
    "PosteriorSampler",
    "Samples",
    "TiledSampler",
    "join_tiles",
    "require_finite",
    "require_possible",
]
