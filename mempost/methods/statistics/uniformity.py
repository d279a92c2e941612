"""Is a sample uniform on [0, 1)? The Anderson-Darling test, with its exact asymptotic law.

With u_(1) <= ... <= u_(n),

    A^2 = -n - (1/n) sum_i (2i - 1) (log u_(i) + log(1 - u_(n+1-i)))

is n times the squared distance of the empirical distribution function to u, divided by u (1 - u).
The weight makes it see the ends, where ranks go if draws are too narrow; a Kolmogorov-Smirnov test
looks at the middle. Under uniformity A^2 tends to sum_j X_j^2/(j (j+1)) with X_j ~ N(0, 1), so fast
that the limit serves from n = 8 on. Its moment generating function is

    M(s) = prod_j (1 - 2s/(j (j+1)))^(-1/2) = sqrt(-2 pi s / cos(pi sqrt(1 + 8s)/2)),    Re s < 1,

and P(A^2 > x) = (1/(2 pi i)) int M(s) e^(-sx)/s ds along Re s = c in (0, 1), by the trapezoid rule,
which converges geometrically here: p-values keep relative accuracy however small they are.

Reference: Anderson & Darling 1952, "Asymptotic theory of certain goodness of fit criteria based on
stochastic processes".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_END = 900.0
"""Where |M| has fallen by exp(-pi sqrt(t)/2), below rounding."""


def anderson_darling(u: Float[Tensor, "*batch n"]) -> tuple[Float[Tensor, "*batch"], Tensor]:
    """A^2 and its p-value for samples along the last axis."""
    n = u.shape[-1]
    tiny = torch.finfo(torch.float64).tiny
    v = u.double().sort(dim=-1).values
    odd = 2 * torch.arange(n, dtype=torch.float64) + 1
    logs = v.clamp(min=tiny).log() + (1 - v).clamp(min=tiny).log().flip(-1)
    statistic = -n - (odd * logs).sum(-1) / n
    p = [tail(float(x)) for x in statistic.flatten()]
    return statistic, torch.tensor(p, dtype=torch.float64).reshape(statistic.shape)


def tail(x: float) -> float:
    """P(A^2 > x) in the limit of many numbers."""
    if x <= 0:
        return 1.0
    c = 0.5 if x < 2 else 0.8 if x < 10 else 0.95
    t, weighted = _transform(c)
    value = np.exp(-c * x) * float((weighted * np.exp(-1j * x * t)).real.sum())
    return min(max(value, 0.0), 1.0)


@lru_cache(maxsize=3)
def _transform(c: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes t on the line s = c + it, and M(s)/s there with the weights of the rule."""
    step = (1 - c) / 5
    t = np.arange(0, _END, step)
    s = c + 1j * t
    squared = -2 * np.pi * s / np.cos(0.5 * np.pi * np.sqrt(1 + 8 * s))
    phase = np.unwrap(np.angle(squared))  # the root that is continuous from M(c) > 0 on
    m = np.sqrt(np.abs(squared)) * np.exp(0.5j * phase)
    weights = np.full(len(t), step / np.pi)
    weights[0] /= 2
    return t, m / s * weights
