"""Masks of inpainting by name: which pixels of an image are hidden.

A pattern gives one boolean an entry of a grid with one axis (a signal) or two (rows, columns).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from mempost.core.plugin import Recipe
from mempost.core.streams import Streams
from mempost.core.variants import ONE_OF


class MaskPattern(Recipe, ABC):
    """A rule that hides some entries of a grid."""

    @abstractmethod
    def hidden(self, shape: tuple[int, ...]) -> np.ndarray:
        """True where the entry is hidden, for a grid of one or two axes.

        Raises:
            ValueError: the pattern does not fit the grid.
        """


class Box(MaskPattern):
    """Hides a box of ``size`` pixels along each axis in the centre (where odd, nearer to 0)."""

    type: Literal["box"] = "box"
    size: PositiveInt | tuple[PositiveInt, PositiveInt] = Field(
        description="pixels hidden along each axis, or [rows, columns]"
    )

    def hidden(self, shape: tuple[int, ...]) -> np.ndarray:
        sizes = (self.size,) * len(shape) if isinstance(self.size, int) else self.size
        if len(sizes) != len(shape) or any(s > n for s, n in zip(sizes, shape)):
            raise ValueError(f"a box of size {sizes} does not fit a grid of shape {shape}")
        inside = np.zeros(shape, dtype=bool)
        inside[tuple(slice((n - s) // 2, (n - s) // 2 + s) for s, n in zip(sizes, shape))] = True
        return inside


class Half(MaskPattern):
    """Hides one half; the middle line of an odd number of lines is kept."""

    type: Literal["half"] = "half"
    side: Literal["left", "right", "top", "bottom"] = Field("right", description="hidden side")

    def hidden(self, shape: tuple[int, ...]) -> np.ndarray:
        vertical = self.side in ("top", "bottom")
        if vertical and len(shape) < 2:
            raise ValueError(f"a grid of shape {shape} has no {self.side}, only left and right")
        n = shape[0] if vertical else shape[-1]
        line = np.zeros(n, dtype=bool)
        line[: n // 2] = True
        if self.side in ("right", "bottom"):
            line = line[::-1]
        return np.broadcast_to(line[:, None] if vertical else line, shape)


class Subsample(MaskPattern):
    """Keeps every ``step``-th pixel along each axis, starting from the first."""

    type: Literal["subsample"] = "subsample"
    step: int = Field(2, ge=2)

    def hidden(self, shape: tuple[int, ...]) -> np.ndarray:
        hidden = np.ones(shape, dtype=bool)
        hidden[(slice(None, None, self.step),) * len(shape)] = False
        return hidden


class RandomPixels(MaskPattern):
    """Hides a random ``fraction`` of the pixels; a larger fraction hides these and more."""

    type: Literal["random"] = "random"
    fraction: float = Field(0.5, gt=0, lt=1, description="hidden share, rounded to whole pixels")
    seed: NonNegativeInt = 0

    def hidden(self, shape: tuple[int, ...]) -> np.ndarray:
        n = int(np.prod(shape))
        order = Streams(self.seed, "data").at().permutation(n).numpy()
        hidden = np.zeros(n, dtype=bool)
        hidden[order[: round(self.fraction * n)]] = True
        return hidden.reshape(shape)


Pattern = Annotated[Box | Half | Subsample | RandomPixels, ONE_OF]
"""A pattern in a spec: ``half``, or ``{type: box, size: 4}``."""
