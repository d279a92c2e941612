"""A mixture of Gaussians with any covariances: p(x) = sum_k pi_k N(x; m_k, C_k).

With C_k = U_k diag(lambda_k) U_k^T, noise of any level changes the eigenvalues alone: at
z = a x + s e component k is N(z; a m_k, U_k diag(v_k) U_k^T) with v_k = a^2 lambda_k + s^2. For
p_k = U_k^T (z - a m_k) and the responsibilities w_k(z),

    log N_k      = -1/2 sum(p_k^2 / v_k + log(2 pi v_k))
    score        = -sum_k w_k U_k (p_k / v_k)
    E_k[x | z]   = m_k + U_k (a lambda_k p_k / v_k),        D(z) = sum_k w_k E_k[x | z]
    Cov_k[x | z] = U_k diag(s^2 lambda_k / v_k) U_k^T
    Cov[x | z]   = sum_k w_k (Cov_k + (E_k - D)(E_k - D)^T)

A single Gaussian is a mixture of one.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import HasDensity, Withheld
from mempost.core.denoised import Denoised
from mempost.core.errors import PluginError
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.mixture import MixturePrior
from mempost.core.prior import State
from mempost.core.streams import TILE, Stream


class FullMixture(MixturePrior):
    """Components with eigenvalues (K, d) in orthonormal bases (K, d, d), or in the standard one."""

    def __init__(
        self,
        weights: Float[Tensor, " k"],
        means: Float[Tensor, "k d"],
        eigenvalues: Float[Tensor, "k d"],
        bases: Float[Tensor, "k d d"] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Columns of ``bases`` are eigenvectors; None is the identity (diagonal covariances)."""
        super().__init__(shape or tuple(means.shape[1:]), means)
        self.weights, self.means = weights, means
        self.eigenvalues, self.bases = eigenvalues, bases
        self.shared_covariance = len(weights) == 1

    @classmethod
    def from_covariances(
        cls,
        weights: Float[Tensor, " k"],
        means: Float[Tensor, "k d"],
        covariances: Float[Tensor, "k d d"] | Float[Tensor, "k d"],
        shape: tuple[int, ...] | None = None,
    ) -> Self:
        """From full covariances (positive semi-definite), or from the diagonals of diagonal ones.

        Decomposed in the precision of the covariances, kept in that of the means. Eigenvalues that
        are zero up to rounding are set to zero.
        """
        if covariances.ndim == 2:
            return cls(weights, means, covariances.to(means.dtype), shape=shape)
        eigenvalues, bases = torch.linalg.eigh(covariances)
        rounding = torch.finfo(covariances.dtype).eps * eigenvalues.shape[-1]
        zero = eigenvalues <= rounding * eigenvalues[:, -1:]
        eigenvalues = torch.where(zero, 0.0, eigenvalues)
        return cls(weights, means, eigenvalues.to(means.dtype), bases.to(means.dtype), shape)

    @property
    def withheld(self) -> Withheld:
        singular = bool((self.eigenvalues == 0).any())
        return {HasDensity: "a covariance is singular"} if singular else {}

    # -- answers ------------------------------------------------------------------------------

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        w, means, _ = self._condition(z, a, s)
        return torch.einsum("bk,kbd->bd", w, means)

    def at(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> FullDenoised:
        """E[x | z] with its derivatives in closed form."""
        return FullDenoised(self, z, level)

    def score(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> Float[Tensor, "batch d"]:
        """grad log p(z), at s = 0 too where no covariance is singular."""
        self._called(z)
        p, variances = self._project(z, *level.columns(z))
        w = self._log_weighted(p, variances).softmax(-1)
        return -torch.einsum("bk,kbd->bd", w, self._from_basis(p / variances))

    def _log_density(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return self._log_weighted(*self._project(z, a, s)).logsumexp(-1)

    def component_log_densities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]:
        """log(pi_k N(z; a m_k, a^2 C_k + s^2 I)) of every component."""
        self._check(z)
        return self._log_weighted(*self._project(z, *level.columns(z)))

    def _condition(self, z: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """w_k (batch, K), E_k[x | z] (K, batch, d) and v_k (K, batch or 1, d)."""
        p, variances = self._project(z, a, s)
        gain = a * self.eigenvalues[:, None] / variances
        means = self.means[:, None] + self._from_basis(gain * p)
        return self._log_weighted(p, variances).softmax(-1), means, variances

    def _project(self, z: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """p_k (K, batch, d) and v_k (K, batch or 1, d)."""
        variances = a**2 * self.eigenvalues[:, None] + s**2
        if _has_zero(variances):
            raise PluginError(
                "a singular covariance has no density, score or denoiser at s = 0; "
                "take a noise level s > 0"
            )
        return self._to_basis(z - a * self.means[:, None]), variances

    def _log_weighted(self, p: Tensor, variances: Tensor) -> Tensor:
        """log(pi_k N_k), (batch, K)."""
        terms = p**2 / variances + torch.log(2 * math.pi * variances)
        return self.weights.log() - 0.5 * terms.sum(-1).T

    def _to_basis(self, v: Tensor) -> Tensor:
        """U_k^T v for v (K, batch, d)."""
        return v if self.bases is None else v @ self.bases

    def _from_basis(self, v: Tensor) -> Tensor:
        """U_k v for v (K, batch, d)."""
        return v if self.bases is None else v @ self.bases.mT

    # -- factors L_k = U_k diag(sqrt(lambda_k)), draws, storage -----------------------------------

    def factor_product(self, index: Tensor, v: Tensor, transpose: bool = False) -> Tensor:
        """L_k v or L_k^T v."""
        root = self.eigenvalues[index].to(v.dtype).sqrt()[..., None]
        if self.bases is None:
            return root * v
        u = self.bases[index].to(v.dtype)
        return root * (u.mT @ v) if transpose else u @ (root * v)

    def factor_solve(self, index: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """L_k^-1 v and log |det L_k|; refused for singular covariances."""
        eigenvalues = self.eigenvalues[index]
        if (eigenvalues == 0).any():
            raise PluginError("a singular covariance has no inverse")
        if self.bases is not None:
            v = self.bases[index].mT @ v
        return v / eigenvalues.sqrt()[..., None], 0.5 * eigenvalues.log().sum(-1)

    def _draw(self, stream: Stream) -> Tensor:
        index = stream.categorical(self.weights, TILE).to(self.device)
        e = stream.normal((TILE, self.dimension), self.dtype, self.device)
        e = e * self.eigenvalues[index].sqrt()
        if self.bases is not None:
            for k in index.unique():
                e[index == k] = e[index == k] @ self.bases[k].T
        return self.means[index] + e

    def _state(self) -> State:
        tensors = {"weights": self.weights, "means": self.means, "eigenvalues": self.eigenvalues}
        return State(tensors if self.bases is None else {**tensors, "bases": self.bases}, {})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        t = state.tensors
        bases = t.get("bases")
        return cls(t["weights"], t["means"], t["eigenvalues"], bases, state.values["shape"])


class FullDenoised(Denoised):
    """The denoiser of a `FullMixture` at a state, in closed form."""

    prior: FullMixture

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """w_k (batch, K), E_k[x | z] (K, batch, d) and v_k (K, batch or 1, d)."""
        self.prior._called(self.z)
        return self.prior._condition(self.z, self.a, self.s)

    @property
    def mean(self) -> Float[Tensor, "batch d"]:
        """sum_k w_k E_k[x | z]."""
        w, means, _ = self._moments
        return torch.einsum("bk,kbd->bd", w, means)

    def vjp(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """(a / s^2) Cov[x | z] v."""
        return self.a / self.s**2 * self.covariance_product(v)

    def covariance_product(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """What the components have within, and between their means."""
        prior, (w, means, variances) = self.prior, self._moments
        gain = self.s**2 * prior.eigenvalues[:, None] / variances
        within = prior._from_basis(gain * prior._to_basis(v.expand_as(means)))
        between = means - self.mean
        between = between * (between * v).sum(-1, keepdim=True)
        return torch.einsum("bk,kbd->bd", w, within + between)


def _has_zero(value: Tensor) -> bool:
    """Whether any entry is zero; False under a vmap over it, where it cannot be known."""
    try:
        return bool((value.detach() == 0).any())
    except RuntimeError:
        return False
