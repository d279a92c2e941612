"""A mixture with one isotropic covariance: p(x) = sum_n pi_n N(x; x_n, h^2 I).

At the noise level z = a x + s e every component is N(z; a x_n, v I) with v = a^2 h^2 + s^2. With

    w_n(z) = softmax_n(log pi_n - |z - a x_n|^2 / (2 v)),        xbar = sum_n w_n x_n,
    Cov_w[x] = sum_n w_n (x_n - xbar)(x_n - xbar)^T,

the answers are

    score         (a xbar - z) / v                                (also at s = 0 where h > 0)
    D(z)        = (a h^2 / v) z + (s^2 / v) xbar
    dD/dz       = (a h^2 / v) I + (a s^2 / v^2) Cov_w[x]                       (symmetric)
    Cov[x | z]  = (h^2 s^2 / v) I + (s^2 / v)^2 Cov_w[x]

Differences z - a x_n are not formed for all n. Logits are a matrix product, a block of components
at a time, and blocks are joined by a running log-sum-exp, so memory does not grow with N.

Rounding. With u the unit roundoff and R the radius of the centred data, the product form of a logit
is wrong by about u a R |z| / v, where |z| is about a R + s sqrt(d). Where this exceeds the
accuracy that is promised (1e-5 in single precision, 1e-12 in double), logits are formed in double
precision; where that is not enough either, z / a and x_n are split into multiples of 2^-24 R and
a rest. Products of the first parts and their sums are then exact, so that what cancels in
|z / a - x_n|^2 cancels without error, and the rest is smaller by 2^-24 (Ozaki, Ogita, Oishi & Rump
2012, "Error-free transformations of matrix multiplication by using fast routines of matrix
multiplication"). Where an example is so far out that this is too little as well, differences are
formed after all. The choice depends on the level and the data alone, never on z, so the methods
compose with torch.func. The centre is a median: one extreme example must not move it.

Reference: Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based
generative models", appendix B.3 (the optimal denoiser of a finite training set).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import Examples, HasDensity, Withheld
from mempost.core.denoised import Denoised
from mempost.core.errors import PluginError
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.mixture import MixturePrior
from mempost.core.prior import State
from mempost.core.streams import TILE, Stream
from mempost.methods.geometry.pairwise import middle
from mempost.methods.statistics.chi_squared import within

_LOGITS = 2**20
"""Logits of one block (batch x components)."""
_NUMBERS = 2**20
"""Coordinates of the components of one block."""
_ACCURACY = {torch.float64: 1e-12}
"""Accepted error of a logit; 1e-5 in other precisions."""


@dataclass(frozen=True)
class _Query:
    """States z - a centre (batch, d) with a and v (batch or 1, 1), in the precision of the logits.

    ``parts`` holds z / a in two parts where products are to be exact, and in one part, as it is,
    where differences are to be formed.
    """

    z: Tensor
    a: Tensor
    v: Tensor
    parts: tuple[Tensor, ...] = ()


class KernelMixture(MixturePrior):
    """Components of one isotropic covariance h^2 I; h = 0 makes them atoms."""

    shared_covariance = True

    def __init__(
        self,
        means: Float[Tensor, "n d"],
        bandwidth: float,
        weights: Float[Tensor, " n"] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Equal weights unless ``weights`` are given; ``shape`` is that of one x."""
        super().__init__(shape or tuple(means.shape[1:]), means)
        n, d = means.shape
        self.means, self.bandwidth = means, float(bandwidth)
        self.weights = means.new_full((n,), 1 / n) if weights is None else weights
        wide = self.weights.double()
        self._log_weights = (wide / wide.sum()).log().clamp(min=-1e30)
        blocks = means.split(max(1, _NUMBERS // d))
        self._centre = middle(means).double()
        radius = max(float((x - self._centre).square().sum(-1).max()) for x in blocks) ** 0.5
        self._radius, self._unit = radius, 2.0 ** (math.frexp(radius)[1] - 24)
        self._square_norms = means.new_empty((2, n), dtype=torch.float64)
        for x, norms in zip(blocks, self._square_norms.split(len(blocks[0]), 1)):
            norms[:] = self._norms(x - self._centre)

    @property
    def examples(self) -> Examples:
        """The means, with their weights."""
        return Examples(self.means, self.weights)

    @property
    def withheld(self) -> Withheld:
        return {} if self.bandwidth > 0 else {HasDensity: "bandwidth 0 leaves atoms"}

    # -- answers ------------------------------------------------------------------------------

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        query = self._query(z, a, s)
        mean, _ = self._weighted_mean(query, z.dtype)
        v = query.v.to(z.dtype)
        return a * self.bandwidth**2 / v * z + s**2 / v * mean

    def at(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> KernelDenoised:
        """E[x | z] with its derivatives in closed form."""
        return KernelDenoised(self, z, level)

    def score(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> Float[Tensor, "batch d"]:
        """grad log p(z), at s = 0 too where the bandwidth is positive."""
        return self.at(z, level).score

    def _log_density(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        query = self._query(z, a, s)
        _, log_sum = self._weighted_mean(query, z.dtype)
        return (log_sum + self._log_factor(query)).squeeze(-1).to(z.dtype)

    def component_log_densities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]:
        """log(pi_n N(z; a x_n, v I)) of every component."""
        self._check(z)
        query = self._query(z, *level.columns(z))
        return (self._all_logits(query) + self._log_factor(query)).to(z.dtype)

    def responsibilities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]:
        """w_n(z); rows sum to one."""
        self._check(z)
        logits = self._all_logits(self._query(z, *level.columns(z)))
        return torch.softmax(logits, -1).to(z.dtype)

    def factor_product(self, index: Tensor, v: Tensor, transpose: bool = False) -> Tensor:
        """The product h v."""
        return self.bandwidth * v

    def factor_solve(self, index: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The quotient v / h and d log h; refused for h = 0."""
        if self.bandwidth == 0:
            raise PluginError("bandwidth 0 leaves atoms, whose covariances have no inverse")
        log_det = self.dimension * math.log(self.bandwidth)
        return v / self.bandwidth, v.new_full((len(index),), log_det)

    def component_variances(self, index: Tensor) -> Tensor:
        """h^2 for every coordinate."""
        return self.means.new_full((len(index), self.dimension), self.bandwidth**2)

    def _draw(self, stream: Stream) -> Tensor:
        atoms = self.means[stream.categorical(self.weights, TILE).to(self.device)]
        return atoms + self.bandwidth * stream.normal(tuple(atoms.shape), self.dtype, self.device)

    def _state(self) -> State:
        tensors = {"means": self.means, "weights": self.weights}
        return State(tensors, {"bandwidth": self.bandwidth})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        tensors, values = state
        return cls(tensors["means"], values["bandwidth"], tensors["weights"], values["shape"])

    def limit_law(self, tolerance: float) -> float:
        """P(|h e| < tolerance) for e ~ N(0, I); 1 for atoms."""
        return within(tolerance, self.bandwidth, self.dimension)

    # -- weights, a block of components at a time -----------------------------------------------

    def _query(self, z: Tensor, a: Tensor, s: Tensor) -> _Query:
        """Shift z and choose the precision that the level asks for."""
        a, s, wide = a.double(), s.double(), z.double()
        v = a**2 * self.bandwidth**2 + s**2
        if _known(v.amin()) == 0:
            raise PluginError(
                "bandwidth 0 leaves atoms, which have no density, score or denoiser at s = 0; "
                "take a positive bandwidth or noise level"
            )
        reach = a * self._radius
        amplified = _known((reach * (reach + s * math.sqrt(self.dimension)) / v).amax(), math.inf)
        accuracy = _ACCURACY.get(z.dtype, 1e-5)
        single = _unit_roundoff(z.dtype) * amplified <= accuracy
        shifted = wide - a * self._centre
        if single:
            return _Query(shifted.to(z.dtype), a.to(z.dtype), v.to(z.dtype))
        error = _unit_roundoff(torch.float64) * amplified
        if error <= accuracy:
            return _Query(shifted, a, v)
        whole = wide / torch.where(a == 0, 1.0, a)
        parts = self._split(whole - self._centre) if error * 2.0**-24 <= accuracy else (whole,)
        return _Query(shifted, a, v, parts)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Multiples of the unit and the rest, which alone depends on x to automatic derivatives."""
        high = (x.detach() / self._unit).round() * self._unit
        return high, x - high

    def _norms(self, x: Tensor) -> Float[Tensor, "2 n"]:
        """|high|^2, exactly, and what |x|^2 has beyond it."""
        high, rest = self._split(x)
        return torch.stack([high.square().sum(-1), (rest * (x + high)).sum(-1)])

    def _blocks(self, query: _Query) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Block by block: where it lies, x_n - centre, and log pi_n - |z - a x_n|^2 / (2 v).

        Unless split, |z|^2 is left out (see `_log_factor`).
        """
        batch, d = query.z.shape
        size = max(1, min(_LOGITS // max(1, batch), _NUMBERS // d))
        if len(query.parts) == 1:
            size = max(1, size // d)
        dtype = query.z.dtype
        for start in range(0, len(self.means), size):
            part = slice(start, start + size)
            x = self.means[part].to(dtype) - self._centre.to(dtype)
            norms = self._square_norms[:, part].to(dtype)
            log_pi = self._log_weights[part].to(dtype)
            if not query.parts:
                bias = log_pi - query.a**2 / (2 * query.v) * norms.sum(0)
                yield part, x, torch.addmm(bias, query.a / query.v * query.z, x.T)
            else:
                square = self._squares(query.parts, self.means[part].to(dtype), x, norms)
                yield part, x, log_pi - query.a**2 / (2 * query.v) * square

    def _squares(
        self, parts: tuple[Tensor, ...], means: Tensor, x: Tensor, norms: Tensor
    ) -> Tensor:
        """|z / a - x_n|^2: by differences, or of two parts what is exact and then what is small."""
        if len(parts) == 1:
            return (parts[0][:, None] - means).square().sum(-1)
        (q_high, q_rest), (x_high, x_rest) = parts, self._split(x)
        exact = torch.addmm(norms[0] + q_high.square().sum(-1, True), -2 * q_high, x_high.T)
        small = norms[1] + (q_rest * (q_rest + 2 * q_high)).sum(-1, True)
        small = torch.addmm(small, -2 * q_high, x_rest.T)
        return exact + torch.addmm(small, -2 * q_rest, x.T)

    def _log_factor(self, query: _Query) -> Tensor:
        """What `_blocks` leaves out of log(pi_n N(z; a x_n, v I))."""
        constant = -0.5 * self.dimension * torch.log(2 * math.pi * query.v)
        if query.parts:
            return constant
        return constant - query.z.square().sum(-1, keepdim=True) / (2 * query.v)

    def _all_logits(self, query: _Query) -> Tensor:
        return torch.cat([logits for _, _, logits in self._blocks(query)], -1)

    def _weighted_mean(self, query: _Query, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Weighted mean xbar (batch, d) and log-sum-exp of the logits (batch, 1)."""
        mean = log_sum = None
        for part, _, logits in self._blocks(query):
            w = torch.softmax(logits, -1)
            log_block = logits.amax(-1, keepdim=True) - w.amax(-1, keepdim=True).log()
            block = w.to(dtype) @ self.means[part].to(dtype)
            if mean is None or log_sum is None:
                mean, log_sum = block, log_block
                continue
            joint = torch.logaddexp(log_sum, log_block)
            mean = mean + (log_block - joint).exp().to(dtype) * (block - mean)
            log_sum = joint
        assert mean is not None and log_sum is not None
        return mean, log_sum

    def _weighted_covariance(
        self, query: _Query, mean: Tensor, log_sum: Tensor, v: Tensor
    ) -> Tensor:
        """Cov_w[x] v (batch, d) = sum_n w_n (x_n - xbar) ((x_n - xbar) . v), in a second pass."""
        mean = mean - self._centre.to(v.dtype)
        projected = (v * mean).sum(-1, keepdim=True)
        spread, total = torch.zeros_like(v), torch.zeros_like(projected)
        for _, x, logits in self._blocks(query):
            x = x.to(v.dtype)
            t = (logits - log_sum).to(v.dtype).exp() * (v @ x.T - projected)
            spread, total = spread + t @ x, total + t.sum(-1, keepdim=True)
        return spread - total * mean


class KernelDenoised(Denoised):
    """The denoiser of a `KernelMixture` at a state, in closed form."""

    prior: KernelMixture

    @cached_property
    def _means(self) -> tuple[_Query, Tensor, Tensor]:
        """The query, xbar (batch, d) and the log-sum-exp of its logits."""
        self.prior._called(self.z)
        query = self.prior._query(self.z, self.a, self.s)
        return query, *self.prior._weighted_mean(query, self.z.dtype)

    @cached_property
    def _ratios(self) -> tuple[Tensor, Tensor]:
        """a / v and s^2 / v."""
        v, dtype = self._means[0].v, self.z.dtype
        return (self.a / v).to(dtype), (self.s**2 / v).to(dtype)

    def _spread(self, v: Tensor) -> Tensor:
        """v -> (h^2 I + (s^2 / v) Cov_w[x]) v."""
        query, mean, log_sum = self._means
        spread = self.prior._weighted_covariance(query, mean, log_sum, v)
        return self.prior.bandwidth**2 * v + self._ratios[1] * spread

    @property
    def mean(self) -> Float[Tensor, "batch d"]:
        """(a h^2 / v) z + (s^2 / v) xbar."""
        gain, ratio = self._ratios
        return gain * self.prior.bandwidth**2 * self.z + ratio * self._means[1]

    def vjp(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """(a h^2 / v) v + (a s^2 / v^2) Cov_w[x] v."""
        return self._ratios[0] * self._spread(v)

    def covariance_product(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """(h^2 s^2 / v) v + (s^2 / v)^2 Cov_w[x] v."""
        return self._ratios[1] * self._spread(v)

    @property
    def score(self) -> Float[Tensor, "batch d"]:
        """(a xbar - z) / v, at s = 0 too where h > 0."""
        query, mean, _ = self._means
        return (self.a * mean - self.z) / query.v.to(self.z.dtype)


def _unit_roundoff(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps / 2


def _known(value: Tensor, otherwise: float = math.nan) -> float:
    """The number that a tensor holds; ``otherwise`` under a vmap over it, which hides it."""
    try:
        return float(value.detach())
    except RuntimeError:
        return otherwise
