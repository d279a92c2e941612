"""Total variation distance between two posterior densities.

    TV(p, q) = 1/2 int |p - q| dx = 1 - int min(p, q) dx = 1 - E_p[min(1, q/p)]

The last form integrates a bounded function against the reference p, so it can be evaluated on the
nodes of its quadrature: ratios neither overflow nor underflow, and what q has outside the grid
counts as missed.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import CanIntegrate, HasDensity, ask
from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.posterior import Posterior
from mempost.core.result import Result


class TotalVariation(Metric):
    """Total variation distance to the density of a reference sampler: ``tv_to_<reference>``.

    The reference must be able to integrate (quadrature does, in one and two dimensions). Samplers
    without a density get no value.
    """

    reference: str = "exact"

    def evaluate(self, result: Result) -> Measured:
        p = result.sibling(self.reference).posterior
        q = result.posterior
        if p is None or q is None:
            return Measured()
        value = total_variation(p, q) if result.key != self.reference else 0.0
        return Measured() if value is None else Measured({f"tv_to_{self.reference}": value})


def total_variation(p: Posterior, q: Posterior) -> float | None:
    """TV(p, q) in [0, 1] by the quadrature of p; None without it, or without both densities."""
    integral, first, second = ask(p, CanIntegrate), ask(p, HasDensity), ask(q, HasDensity)
    if integral is None or first is None or second is None:
        return None

    def overlap(x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch 1"]:
        log_p, log_q = first.log_density(x), second.log_density(x)
        ratio = torch.where(log_p.isneginf(), 0.0, log_q - log_p)
        return ratio.clamp(max=0).exp()[:, None]

    return min(1.0, max(0.0, 1 - float(integral.expectation(overlap)[0])))
