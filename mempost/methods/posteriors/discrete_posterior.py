"""A posterior of weighted atoms, p(x | y) = sum_n w_n delta(x - x_n)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mempost.core.posterior import Posterior, mixture_moments
from mempost.core.streams import TILE, Stream


@dataclass(frozen=True, eq=False)
class DiscretePosterior(Posterior):
    """Weighted atoms.

    Attributes:
        atoms: x_n (n, d).
        log_weights: normalised log w_n.
        log_evidence: log p(y).
    """

    atoms: Float[Tensor, "n d"]
    log_weights: Float[Tensor, " n"]
    log_evidence: Float[Tensor, ""]

    @property
    def weights(self) -> Float[Tensor, " n"]:
        return self.log_weights.exp()

    def mean(self) -> Float[Tensor, " d"]:
        return self.weights @ self.atoms

    def covariance(self) -> Float[Tensor, "d d"]:
        return mixture_moments(self.weights, self.atoms)[1]

    def std(self) -> Float[Tensor, " d"]:
        return (self.weights @ (self.atoms - self.mean()).square()).sqrt()

    def expectation(
        self, f: Callable[[Float[Tensor, "batch d"]], Float[Tensor, "batch k"]]
    ) -> Float[Tensor, " k"]:
        """sum_n w_n f(x_n)."""
        return self.weights @ f(self.atoms)

    def _draw(self, stream: Stream) -> Float[Tensor, "tile d"]:
        return self.atoms[stream.categorical(self.weights, TILE).to(self.atoms.device)]
