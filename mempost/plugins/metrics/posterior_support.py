"""How many training examples a posterior of examples stands on.

The exact posterior under a memorized prior is a lookup, sum_n w_n delta(x - x_n) as the bandwidth
vanishes. With informative data one w_n is 1 and the others underflow, so that the difference of the
two largest log w_n says more than the weights: how many nats the second example is behind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field

from mempost.core.capabilities import HasAtoms, ask
from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.geometry.distinct import Distinct


class PosteriorSupport(Metric):
    """How many training examples carry the mass of a finite-sample posterior, and by how much.

    Columns ``support_size`` (the fewest examples that hold ``share`` of the mass),
    ``support_of`` (N), ``support_largest`` (the largest weight) and ``support_gap`` (log weight of
    the first minus that of the second, in nats). Equal examples are one, with the sum of their
    weights. Only for posteriors of weighted atoms.
    """

    share: float = Field(0.999, gt=0, lt=1, description="of the mass")

    def evaluate(self, result: Result) -> Measured:
        posterior = ask(result.posterior, HasAtoms)
        if posterior is None:
            return Measured()
        points = Distinct.of(posterior.atoms)
        # the largest log weight of the copies, and what the others add to it
        log_weights = posterior.log_weights.double()
        largest = log_weights.new_full((len(points),), -math.inf)
        largest = largest.scatter_reduce(0, points.place, log_weights, "amax")
        shares = points.total((log_weights - largest[points.place]).exp())
        log_weights = (largest + shares.log()).sort(descending=True).values
        held = log_weights.exp().cumsum(0)
        short = held < self.share * held[-1]
        found = {
            "support_size": float(short.sum()) + 1,
            "support_of": float(len(points)),
            "support_largest": float(log_weights[0].exp()),
        }
        if len(held) > 1 and bool(torch.isfinite(log_weights[1])):
            found["support_gap"] = float(log_weights[0] - log_weights[1])
        return Measured(found)

    def verdict(self, results: Sequence[Result]) -> list[str]:
        return [self._sentence(result) for result in results if "support_size" in result.measured]

    def _sentence(self, result: Result) -> str:
        found = result.measured
        size, n = int(found["support_size"]), int(found["support_of"])
        where = ", ".join(f"{p.rpartition('.')[2]} = {v}" for p, v in result.point.items())
        held = "holds" if size == 1 else "hold"
        said = (
            f"{where + ': ' if where else ''}{result.key}: {size} of {n} training examples {held} "
            f"{self.share:.1%} of the posterior mass"
        )
        gap = float(found.get("support_gap", math.inf))
        if size == 1 and math.isfinite(gap):
            said += f"; the second is {gap:,.0f} nats behind"
        return said + "."
