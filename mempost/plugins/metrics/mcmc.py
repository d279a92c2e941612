"""Diagnostics of Markov chain samplers (see `diagnostics`)."""

from __future__ import annotations

import math

import torch
from pydantic import Field

from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import VEHTARI_2021_RANK
from mempost.methods.statistics import diagnostics


class MCMCDiagnostics(Metric):
    """Effective sample sizes and R-hat of the worst coordinate, and the mean acceptance rate.

    Columns ``ess_bulk``, ``ess_tail``, ``r_hat`` for at least two chains of four draws or more (a
    single chain cannot be told from independent draws), and ``acceptance`` where the sampler counts
    it. Coordinates that never move are left out, and calibration runs too, whose chains belong to
    different data. For pictures ``ess_bulk_of`` and ``r_hat_of`` every coordinate are kept, and
    their ``autocorrelation`` up to a lag.
    """

    lags: int = Field(50, ge=1, description="of the autocorrelation that is kept, at most")

    publications = (VEHTARI_2021_RANK,)

    def evaluate(self, result: Result) -> Measured:
        samples = result.samples
        if samples.truths is not None:
            return Measured()
        found: dict[str, Variable] = {}
        kept: dict[str, Variable] = {}
        if samples.values.shape[0] > 1 and samples.values.shape[1] >= 4:
            coordinates = samples.values.cpu().unbind(-1)
            worst = {
                "ess_bulk": (min, diagnostics.ess_bulk),
                "ess_tail": (min, diagnostics.ess_tail),
                "r_hat": (max, diagnostics.r_hat),
            }
            for name, (extreme, diagnostic) in worst.items():
                each = [diagnostic(x) for x in coordinates]
                if values := [v for v in each if not math.isnan(v)]:
                    found[name] = extreme(values)
                if name != "ess_tail":
                    kept[f"{name}_of"] = "coordinate", each
            rho = [diagnostics.autocorrelation(x.double())[: self.lags + 1] for x in coordinates]
            kept["autocorrelation"] = ("coordinate", "lag"), torch.stack(rho)
        if "acceptance" in samples.stats:
            found["acceptance"] = float(samples.stats["acceptance"].double().mean())
        return Measured(found | kept, unlisted=kept)
