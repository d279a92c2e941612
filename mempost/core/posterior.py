"""Posteriors in closed form: what an exact method returns beside samples.

Metrics prefer a `Posterior` over samples: its moments, masses and densities carry no Monte-Carlo
error. Every posterior has a mean, a covariance and a way to draw. What else it gives (a density,
weights, integrals of any function) is asked of it: see `mempost.core.capabilities`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.streams import Stream, Streams, draw_tiled


class Posterior(ABC):
    """A distribution over x (d coordinates) whose moments are known, and that can be drawn from.

    Where it has a density, subclasses define ``log_density(x)`` (`HasDensity`); weights of the
    prior's components or examples, ``weights`` (`HasWeights`); where it can integrate,
    ``expectation(f)`` (`CanIntegrate`).
    """

    @abstractmethod
    def mean(self) -> Float[Tensor, " d"]:
        """E[x | y]."""

    @abstractmethod
    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov[x | y]."""

    def std(self) -> Float[Tensor, " d"]:
        """Standard deviation of each coordinate."""
        return self.covariance().diagonal().clamp(min=0).sqrt()

    def sample(self, n: int, streams: Streams) -> Float[Tensor, "n d"]:
        """``n`` independent draws; the first ones do not depend on ``n``."""
        return draw_tiled(n, streams, self._draw)

    def draw_tile(self, stream: Stream) -> Float[Tensor, "tile d"]:
        """`TILE` draws from one stream."""
        return self._draw(stream)

    @abstractmethod
    def _draw(self, stream: Stream) -> Float[Tensor, "tile d"]:
        """One tile of draws."""


def mixture_moments(
    weights: Float[Tensor, " n"],
    means: Float[Tensor, "n d"],
    mean_covariance: Float[Tensor, "d d"] | float = 0.0,
) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Mean and covariance of a mixture with weighted within-component covariance given."""
    mean = weights @ means
    centred = means - mean
    between = torch.einsum("n,ni,nj->ij", weights, centred, centred)
    return mean, between + mean_covariance
