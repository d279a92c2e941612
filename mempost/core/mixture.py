"""Mixtures of Gaussians, p(x) = sum_n pi_n N(x; m_n, L_n L_n^T): the priors with exact posteriors.

A memorized prior *is* such a mixture, with the training set as means. Methods that exploit this
(the linearised posterior, component masses) ask for the parts by the capability `HasComponents`,
whatever the prior is called; `MixturePrior` is the base class that gives them.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.prior import FittedPrior


class MixturePrior(FittedPrior):
    """A fitted prior with weights, means and factors of its covariances.

    Attributes:
        weights: pi_n, summing to one.
        means: m_n; in a memorized prior, the training examples.
        shared_covariance: whether all components have one covariance.
    """

    weights: Float[Tensor, " n"]
    means: Float[Tensor, "n d"]
    shared_covariance: bool = False

    @abstractmethod
    def factor_product(
        self, index: Tensor, v: Float[Tensor, "k d p"], transpose: bool = False
    ) -> Float[Tensor, "k d p"]:
        """L_n v, or L_n^T v, for the components n in ``index`` (k,), in the precision of v.

        That is the prior's or a higher one.
        """

    @abstractmethod
    def factor_solve(
        self, index: Tensor, v: Float[Tensor, "k d p"]
    ) -> tuple[Float[Tensor, "k d p"], Float[Tensor, " k"]]:
        """L_n^-1 v and log |det L_n|; refused for atoms (L_n = 0)."""

    def component_variances(self, index: Tensor) -> Float[Tensor, "k d"]:
        """Diagonals of the covariances of the components in ``index`` (k,)."""
        eye = torch.eye(self.dimension, dtype=self.dtype, device=self.device)
        factors = self.factor_product(index, eye.expand(len(index), -1, -1))
        return factors.square().sum(-1)

    @abstractmethod
    def component_log_densities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]:
        """log(pi_n N(z; a m_n, a^2 C_n + s^2 I)) of every component."""

    def responsibilities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]:
        """w_n(z), the probability that component n generated z; rows sum to one."""
        return torch.softmax(self.component_log_densities(z, level), -1)
