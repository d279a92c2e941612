"""Where the reverse process starts, at the first noise level z = a x + s e.

    marginal          x from the prior: the exact law of z
    examples          x from the training examples of the prior: what its training noised
    noise             x = 0
    standard_normal   z = e, whatever the level is
    points            z = a u for given points u; row i starts at point i modulo their number
    square            the same for points on the boundary of a square
    latents           x = 0 with given e, from a file; rows as for points

All but the first start from another law than that of z where the first level still sees x;
``examples`` is the first for a prior whose draws are its examples, and the start of the laws of
regularised flows, whose draws are not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.arrays import Matrix
from mempost.core.capabilities import HasExamples, require
from mempost.core.errors import PluginError
from mempost.core.identity import sha256_of
from mempost.core.level import NoiseLevel
from mempost.core.memory import remember
from mempost.core.plugin import InputFile, Recipe
from mempost.core.prior import FittedPrior
from mempost.core.streams import TILE, Stream
from mempost.core.variants import ONE_OF


class Start(Recipe, ABC):
    """A law, or a list, of first states."""

    @abstractmethod
    def draw(
        self, prior: FittedPrior, level: NoiseLevel, stream: Stream
    ) -> Float[Tensor, "tile d"]:
        """`TILE` states at the level."""

    def calls(self, prior: FittedPrior) -> int:
        """Denoiser calls of one state."""
        return 0


class Marginal(Start):
    """z = a x + s e with x from the prior."""

    type: Literal["marginal"] = "marginal"

    def draw(self, prior: FittedPrior, level: NoiseLevel, stream: Stream) -> Tensor:
        return level.perturb(prior.draw_tile(stream), stream)

    def calls(self, prior: FittedPrior) -> int:
        return prior.draw_calls


class NoisedExamples(Start):
    """z = a x + s e with x from the training examples, by their weights."""

    type: Literal["examples"] = "examples"

    def draw(self, prior: FittedPrior, level: NoiseLevel, stream: Stream) -> Tensor:
        x, weights = require(prior, HasExamples, "start: examples", "take marginal").examples
        rows = stream.categorical(weights, TILE).to(prior.device)
        return level.perturb(x[rows].to(prior.dtype), stream)


class Noise(Start):
    """z = s e."""

    type: Literal["noise"] = "noise"

    def draw(self, prior: FittedPrior, level: NoiseLevel, stream: Stream) -> Tensor:
        return stream.normal((TILE, prior.dimension), prior.dtype, prior.device) * level.s


class StandardNormal(Start):
    """z = e."""

    type: Literal["standard_normal"] = "standard_normal"

    def draw(self, prior: FittedPrior, level: NoiseLevel, stream: Stream) -> Tensor:
        return stream.normal((TILE, prior.dimension), prior.dtype, prior.device)


class ListedStart(Start):
    """Rows of a list, one after the other and round again."""

    @abstractmethod
    def rows(self) -> Float[Tensor, "n d"]:
        """The list, float64."""

    def factor(self, level: NoiseLevel) -> float | Tensor:
        """What makes a row into z."""
        return level.a

    def draw(self, prior: FittedPrior, level: NoiseLevel, stream: Stream) -> Tensor:
        return self.take(prior, level, 0, TILE)

    def take(
        self, prior: FittedPrior, level: NoiseLevel, first: int, n: int
    ) -> Float[Tensor, "n d"]:
        """The states of n samples from number ``first`` on."""
        rows = self.rows()
        if rows.shape[1] != prior.dimension:
            raise PluginError(
                f"start: the rows have {rows.shape[1]} coordinates, the prior has {prior.dimension}"
            )
        index = torch.arange(first, first + n) % len(rows)
        return self.factor(level) * rows[index].to(prior.device, prior.dtype)


class Points(ListedStart):
    """z = a u for points u that are given."""

    type: Literal["points"] = "points"
    values: Matrix = Field(description="points, one a row")

    def rows(self) -> Tensor:
        return self.values.tensor()


class Square(ListedStart):
    """Points on the boundary of a square about the origin, exactly symmetric; two dimensions.

    First the lower and the upper side with their corners, then the left and the right one.
    """

    type: Literal["square"] = "square"
    half_side: float = Field(1.0, gt=0)
    per_side: int = Field(21, ge=2, description="points on a side, with its corners")

    def rows(self) -> Tensor:
        n = self.per_side - 1
        along = self.half_side * torch.arange(-n, n + 1, 2, dtype=torch.float64) / n
        end = torch.full_like(along, self.half_side)
        flat = [torch.stack([along, sign * end], 1) for sign in (-1, 1)]
        upright = [torch.stack([sign * end, along], 1)[1:-1] for sign in (-1, 1)]
        return torch.cat([*flat, *upright])


class Latents(ListedStart):
    """z = s e with the rows e of a NumPy file (n, d)."""

    type: Literal["latents"] = "latents"
    file: InputFile

    def rows(self) -> Tensor:
        return remember(lambda: _read(self.file), "latents", self.file, sha256_of(self.file))

    def factor(self, level: NoiseLevel) -> float | Tensor:
        return level.s


def _read(file: Path) -> Tensor:
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise PluginError(f"start: {file} is not a NumPy file of numbers: {error}") from None
    if rows.ndim != 2 or rows.size == 0 or not np.issubdtype(rows.dtype, np.floating):
        raise PluginError(f"start: {file} should hold numbers (n, d), found shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise PluginError(f"start: {file} holds numbers that are not finite")
    return torch.from_numpy(rows.astype(np.float64))


StartField = Annotated[
    Marginal | NoisedExamples | Noise | StandardNormal | Points | Square | Latents, ONE_OF
]
"""A start in a spec: a name, or ``{type: square, half_side: 2.1}``."""
