"""Exponents beta from 0 to 1 that lead from the prior to the posterior through likelihood^beta.

    p_beta(x) proportional to p(x) p(y | x)^beta

Going from beta to beta + delta, equally weighted draws get the weights p(y | x)^delta. The next
exponent is the one at which their effective sample size falls to a given share of their number.
That share decreases in delta, and bisection finds it.

Reference: Jasra, Stephens, Doucet & Tsagaris 2011, "Inference for Lévy-driven stochastic volatility
models via adaptive sequential Monte Carlo".
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from mempost.methods.chains.weights import effective_sample_size

_RELATIVE_WIDTH = 1e-6
"""Of the bracket at which the bisection ends."""


def next_exponent(log_likelihood: Float[Tensor, " n"], beta: float, share: float) -> float:
    """The largest exponent up to 1 that keeps the effective sample size at ``share`` times n."""
    target = share * len(log_likelihood)
    low, high = 0.0, 1.0 - beta
    if effective_sample_size(high * log_likelihood) >= target:
        return 1.0
    while high - low > _RELATIVE_WIDTH * high:
        middle = (low + high) / 2
        if effective_sample_size(middle * log_likelihood) >= target:
            low = middle
        else:
            high = middle
    return beta + high
