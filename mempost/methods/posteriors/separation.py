"""When the components of a memorized prior separate in the data: predicted scales.

Suppose component n generated the data, y = F(x_n) + J_n h u + gamma e, and F is linearised at the
examples. Competitor k explains them worse by its share of the distance f = F(x_n) - F(x_k),

    g_nk(h, gamma) = f^T (gamma^2 I + h^2 J_k J_k^T)^-1 f / 2        (nats),

the expected gap of the log-weights where J_n = J_k (the determinants then cancel, and the expected
rest of the quadratic forms is the same for both). With J_k^T J_k = V diag(l_i) V^T and
t = V^T J_k^T f it is an elementary function of both scales:

    g_nk = |f - P f|^2 / (2 gamma^2) + sum_i (t_i^2 / l_i) / (gamma^2 + h^2 l_i) / 2,

P f being the part of f in the range of J_k, |P f|^2 = sum_i t_i^2 / l_i. It falls in h and in
gamma, from |f|^2 / (2 gamma^2) at h = 0, the gap of the likelihood-weighted lookup. Beside the
generating component with weight 1 its competitors have sum_k exp(-g_nk): where that sum is 1, half
of the mass has left. Equal examples are one point with all their weight: c_n copies compete with
sum_k (c_k / c_n) exp(-g_nk), k over the other points. The scale at which this happens, the other
one given, separates collapse from mixing; with N - 1 competitors at equal distance, g = log(N - 1).
The median over the examples n is taken. A part of f outside the range of J_k, which only a
nonlinear F has, is resolved at every bandwidth: then no bandwidth mixes the components.

In one dimension with spacing delta and slope F' the condition is delta^2 F'^2 = 2 (gamma^2 +
h^2 F'^2) log(N - 1): the bandwidth and the width gamma/|F'| of the likelihood, combined, against
the spacing. The rule h^2 < delta gamma/|F'| of `dominance_bandwidth` is a geometric mean of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.methods.geometry.distinct import Distinct
from mempost.methods.posteriors.linearisation_store import Linearisations

_RANGE = (-40.0, 40.0)
"""Logarithms of the scales that are searched, relative to the data's own."""
_ROUNDING = 1e-11
"""A smaller part of |f|^2 outside the range of J_k is rounding."""


@dataclass(frozen=True, eq=False)
class Gaps:
    """g_nk of reference examples n against all k, in closed form for any scales.

    Attributes:
        outside: |f - P f|^2 (n, k).
        inside: t_i^2 / l_i (n, k, d).
        eigenvalues: l_i (k, d).
        odds: c_k / c_n, and 0 where k is n (n, k).
        references: the examples n, by their numbers among the points that differ.
    """

    outside: Float[Tensor, "n k"]
    inside: Float[Tensor, "n k d"]
    eigenvalues: Float[Tensor, "k d"]
    odds: Float[Tensor, "n k"]
    references: Tensor

    @classmethod
    def of(cls, linearisations: Linearisations, references: int) -> Gaps:
        """Gaps of at most ``references`` examples, evenly spaced; remembered.

        One pass over the Jacobians, and an eigendecomposition of every J_k^T J_k.
        """
        known = _gaps.get(linearisations)
        if known is None or known[0] != references:
            known = (references, cls._of(linearisations, references))
            _gaps[linearisations] = known
        return known[1]

    @classmethod
    def _of(cls, linearisations: Linearisations, references: int) -> Gaps:
        points = Distinct.of(linearisations.points)
        n = len(points)
        chosen = torch.linspace(0, n - 1, min(references, n)).round().long()
        values = linearisations.values_at(points.first[chosen])
        outside, inside, eigenvalues = [], [], []
        for k in range(len(linearisations.blocks)):
            found = linearisations.block_statistics(k, values)
            decay, v = torch.linalg.eigh(found.gram)
            floor = decay.shape[-1] * torch.finfo(decay.dtype).eps * decay.amax(1, True)
            decay = torch.where(decay > floor, decay, 0.0)[:, None]
            share = (found.gradient @ v).square() / torch.where(decay > 0, decay, torch.inf)
            rest = found.square - share.sum(-1)
            outside.append(torch.where(rest > _ROUNDING * found.square, rest, 0.0))
            inside.append(share)
            eigenvalues.append(decay[:, 0])
        odds = points.copies / points.copies[chosen, None].to(values)
        odds[torch.arange(len(chosen)), chosen] = 0.0
        return cls(
            torch.cat(outside)[points.first].mT,
            torch.cat(inside)[points.first].movedim(0, 1),
            torch.cat(eigenvalues)[points.first],
            odds,
            chosen,
        )

    def gaps(self, h: Float[Tensor, " n"], gamma: Float[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """g_nk at scales of their own for every reference n."""
        pairs = zip(self.inside, h, gamma, strict=True)
        resolved = [(t / (b**2 + a**2 * self.eigenvalues)).sum(-1) for t, a, b in pairs]
        return (self.outside / gamma[:, None] ** 2 + torch.stack(resolved)) / 2

    def competitors(
        self, h: Float[Tensor, " n"], gamma: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """sum_{k != n} (c_k / c_n) exp(-g_nk)."""
        return (self.odds * torch.exp(-self.gaps(h, gamma))).sum(1)

    def bandwidth(self, gamma: float) -> float:
        """The bandwidth at which the median example loses half of its mass.

        It is infinite where no bandwidth does that, and 0 where the noise does so already. Where F
        does not answer to x at any example, there is no such scale: NaN.
        """
        largest = self.eigenvalues.amax(1)
        if not (largest > 0).any():
            return math.nan
        scale = gamma / math.sqrt(float(largest[largest > 0].median()))
        return self._median_root(lambda h: self.competitors(h, torch.full_like(h, gamma)), scale)

    def noise(self, h: float) -> float:
        """The noise level gamma at which the median example loses half of its mass.

        NaN where all examples have the same data.
        """
        squares = self.outside + self.inside.sum(-1)
        if not (squares > 0).any():
            return math.nan
        scale = math.sqrt(float(squares[squares > 0].median()))
        return self._median_root(
            lambda gamma: self.competitors(torch.full_like(gamma, h), gamma), scale
        )

    def _median_root(self, competitors: Callable[[Tensor], Tensor], scale: float) -> float:
        """The median over n of the scale at which an increasing function reaches 1.

        It is 0 where the function is larger at once, infinite where it stays below.
        """
        low = self.outside.new_full((len(self.outside),), _RANGE[0])
        high = torch.full_like(low, _RANGE[1])
        at_once = competitors(scale * low.exp()) > 1
        reached = competitors(scale * high.exp()) > 1
        for _ in range(50):
            middle = (low + high) / 2
            above = competitors(scale * middle.exp()) > 1
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        roots = torch.where(reached, scale * high.exp(), torch.inf)
        roots = torch.where(at_once, 0.0, roots).sort().values
        return float(roots[(len(roots) - 1) // 2])


_gaps: WeakKeyDictionary[Linearisations, tuple[int, Gaps]] = WeakKeyDictionary()
