"""Fewer draws, evenly spaced: what bounds the cost of metrics that compare all pairs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.sampler import Samples


def thin(samples: Samples, n: int) -> Samples:
    """At most ``n`` draws, evenly spaced along every chain."""
    chains = samples.values[:n]
    values = chains.movedim(0, 1)
    return Samples(thin_rows(values, max(1, n // len(chains))).movedim(1, 0))


def thin_rows(x: Float[Tensor, n * rest], n: int) -> Float[Tensor, m * rest]:
    """At most ``n`` rows, evenly spaced."""
    if len(x) <= n:
        return x
    return x[torch.linspace(0, len(x) - 1, n, device=x.device).round().long()]
