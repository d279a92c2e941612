"""Posteriors in closed form: what an exact method returns beside samples.

Metrics prefer a `Posterior` over samples: its moments, masses and densities carry no Monte-Carlo
error. Everything derives from expectations, so a posterior is defined by `expectation`,
`log_density` and a way to draw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.streams import Stream, Streams, draw_tiled


class Posterior(ABC):
    """A distribution over x (d coordinates) that can be integrated, evaluated and drawn from."""

    @abstractmethod
    def mean(self) -> Float[Tensor, " d"]:
        """E[x | y]."""

    @abstractmethod
    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov[x | y]."""

    def std(self) -> Float[Tensor, " d"]:
        """Standard deviation of each coordinate."""
        return self.covariance().diagonal().clamp(min=0).sqrt()

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log p(x | y); refused where there is no density (atoms)."""
        raise PluginError(f"{type(self).__name__} offers no log density")

    @property
    def weights(self) -> Float[Tensor, " n"] | None:
        """Weights of the mixture components, or None if the posterior is not a mixture."""
        return None

    def expectation(
        self, f: Callable[[Float[Tensor, "batch d"]], Float[Tensor, "batch k"]]
    ) -> Float[Tensor, " k"]:
        """E[f(x) | y] where it can be integrated; refused otherwise."""
        raise PluginError(f"{type(self).__name__} offers no expectations of arbitrary functions")

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
