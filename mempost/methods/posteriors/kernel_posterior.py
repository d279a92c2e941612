"""A posterior of weighted kernels of one bandwidth, p(x | y) = sum_n w_n N(x; x_n, h^2 I)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.posterior import Posterior, mixture_moments
from mempost.core.streams import Stream
from mempost.methods.mixtures.kernel_mixture import KernelMixture
from mempost.methods.mixtures.mixture_marginals import GaussianMixture1D


@dataclass(frozen=True, eq=False)
class KernelPosterior(Posterior):
    """Weighted kernels.

    Attributes:
        centres: x_n (n, d).
        log_weights: normalised log w_n.
        bandwidth: h > 0.
    """

    centres: Float[Tensor, "n d"]
    log_weights: Float[Tensor, " n"]
    bandwidth: float

    @property
    def weights(self) -> Float[Tensor, " n"]:
        return self.log_weights.exp()

    @cached_property
    def mixture(self) -> KernelMixture:
        """The kernels, as a mixture."""
        return KernelMixture(self.centres, self.bandwidth, self.weights)

    def mean(self) -> Float[Tensor, " d"]:
        return self.weights @ self.centres

    def covariance(self) -> Float[Tensor, "d d"]:
        eye = torch.eye(self.centres.shape[1], dtype=self.centres.dtype, device=self.centres.device)
        return mixture_moments(self.weights, self.centres, self.bandwidth**2 * eye)[1]

    def std(self) -> Float[Tensor, " d"]:
        spread = self.weights @ (self.centres - self.mean()).square()
        return (spread + self.bandwidth**2).sqrt()

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log density."""
        return self.mixture.log_density(x)

    def marginals(self, coordinates: Sequence[int] | None = None) -> list[GaussianMixture1D]:
        """Marginals of some coordinates, or of all."""
        d = self.centres.shape[1]
        stds = self.centres.new_full((len(self.centres),), self.bandwidth)
        chosen = range(d) if coordinates is None else coordinates
        return [GaussianMixture1D(self.weights, self.centres[:, i], stds) for i in chosen]

    def _draw(self, stream: Stream) -> Float[Tensor, "tile d"]:
        return self.mixture.draw_tile(stream)
