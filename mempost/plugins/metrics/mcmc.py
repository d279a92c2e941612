"""Diagnostics of Markov chain samplers (see `diagnostics`)."""

from __future__ import annotations

import math

from mempost.core.metric import Metric
from mempost.core.plugin import Reference
from mempost.core.result import Result
from mempost.plugins.metrics import diagnostics


class MCMCDiagnostics(Metric):
    """Effective sample sizes and R-hat of the worst coordinate, and the mean acceptance rate.

    Columns ``ess_bulk``, ``ess_tail``, ``r_hat`` for at least two chains of four draws or more (a
    single chain cannot be told from independent draws), and ``acceptance`` where the sampler counts
    it. Coordinates that never move are left out, and calibration runs too, whose chains belong to
    different data.
    """

    references = (
        Reference(
            "vehtari2021rank",
            "Vehtari, Aki and Gelman, Andrew and Simpson, Daniel and Carpenter, Bob and "
            'B{\\"u}rkner, Paul-Christian',
            "Rank-normalization, folding, and localization: An improved R-hat for assessing "
            "convergence of MCMC",
            2021,
            "https://doi.org/10.1214/20-BA1221",
        ),
    )

    def evaluate(self, result: Result) -> dict[str, float]:
        samples = result.samples
        columns: dict[str, float] = {}
        if samples.truths is not None:
            return columns
        if samples.values.shape[0] > 1 and samples.values.shape[1] >= 4:
            coordinates = samples.values.cpu().unbind(-1)
            worst = {
                "ess_bulk": (min, diagnostics.ess_bulk),
                "ess_tail": (min, diagnostics.ess_tail),
                "r_hat": (max, diagnostics.r_hat),
            }
            for name, (extreme, diagnostic) in worst.items():
                values = [v for v in map(diagnostic, coordinates) if not math.isnan(v)]
                if values:
                    columns[name] = extreme(values)
        if "acceptance" in samples.stats:
            columns["acceptance"] = float(samples.stats["acceptance"].double().mean())
        return columns
