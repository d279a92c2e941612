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

from mempost.core.errors import PluginError
from mempost.core.metric import Metric
from mempost.core.posterior import Posterior
from mempost.core.result import Result


class TotalVariation(Metric):
    """Total variation distance to the density of a reference sampler: ``tv_to_<reference>``.

    The reference must be able to integrate (quadrature does, in one and two dimensions). Samplers
    without a density get no value.
    """

    reference: str = "exact"

    def evaluate(self, result: Result) -> dict[str, float]:
        p = result.sibling(self.reference).posterior
        q = result.posterior
        if p is None or q is None:
            return {}
        try:
            value = total_variation(p, q) if result.key != self.reference else 0.0
        except PluginError:  # no density, or no way to integrate
            return {}
        return {f"tv_to_{self.reference}": value}


def total_variation(p: Posterior, q: Posterior) -> float:
    """TV(p, q) in [0, 1], integrated by the quadrature of p.

    Raises:
        PluginError: one of them has no density, or p cannot integrate.
    """

    def overlap(x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch 1"]:
        log_p, log_q = p.log_density(x), q.log_density(x)
        ratio = torch.where(log_p.isneginf(), 0.0, log_q - log_p)
        return ratio.clamp(max=0).exp()[:, None]

    return min(1.0, max(0.0, 1 - float(p.expectation(overlap)[0])))
