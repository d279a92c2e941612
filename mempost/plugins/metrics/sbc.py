"""Simulation-based calibration: over many truths, where do they stand among the draws?

For truths x from the prior, data y simulated from each and draws from p(x | y), the randomised rank
u of q(x) is uniform on [0, 1) for every function q (see `ranks`). Two tests look at it, each the
Anderson-Darling test of `uniformity`: one of u, which sees draws that are shifted, and one of the
folded rank |2u - 1|, which sees draws that are too narrow or too wide. Several quantities are
tested, and their p-values combined by Bonferroni's rule: the smallest one times their number, which
holds however the quantities depend on one another.

How far off the draws are is told in units of a normal posterior. With w = Phi^-1(u),

    shift = mean(w)         truths lie that many standard deviations of the draws above their mean
    width = 1 / std(w)      spread of the draws, in units of what it should be

in the coordinate that the test of u, and of |2u - 1|, finds worst. A finite number L of draws
bounds what they can show, to about Phi^-1(1 - 1/(2 L)).

No test of functions of x alone sees a sampler that ignores the data and draws from the prior; the
quantity log p(y | x) does (``quantities: {log_likelihood: true}``).

References: Talts, Betancourt, Simpson, Vehtari & Gelman 2018, "Validating Bayesian inference
algorithms with simulation-based calibration"; Modrak et al. 2023, "Simulation-based calibration
checking for Bayesian computation: The choice of test quantities shapes sensitivity".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.measured import BOUND, Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import MODRAK_2023_SIMULATION, TALTS_2018_VALIDATING
from mempost.methods.statistics.calibration_verdict import by_point, words
from mempost.methods.statistics.quantities import Quantities
from mempost.methods.statistics.ranks import folded
from mempost.methods.statistics.simultaneous_bands import GRID, band_from_zero, ecdf
from mempost.methods.statistics.uniformity import anderson_darling


class SimulationBasedCalibration(Metric):
    """Uniformity of randomised ranks and folded ranks over many truths; right for atoms too.

    Columns ``sbc_p`` and ``sbc_folded_p`` (Anderson-Darling, Bonferroni over quantities),
    ``sbc_shift`` and ``sbc_width`` (of the draws, 0 and 1 if right) and ``sbc_truths``. For
    calibration runs with truths from the prior and draws that are independent given the data.

    For pictures the distribution functions ``sbc_ecdf`` and ``sbc_folded_ecdf`` of ranks and folded
    ranks are kept, by quantity, with the band ``sbc_band`` that holds the whole of each with the
    probability ``confidence`` if draws are right.
    """

    publications = (TALTS_2018_VALIDATING, MODRAK_2023_SIMULATION)

    quantities: Quantities = Field(default_factory=Quantities)
    every: int = Field(1, ge=1, description="use every n-th draw; of Markov chains, one a chain")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the band, for a line as a whole")
    significance: float = Field(
        1e-4, gt=0, lt=1, description="p below which the verdict calls draws miscalibrated"
    )

    def evaluate(self, result: Result) -> Measured:
        ranks = self.quantities.of(result, self.every)
        if ranks is None:
            return Measured()
        q, n = ranks.u.shape
        if n < 2:
            raise PluginError("sbc needs two truths or more: raise calibration.truths")
        p = anderson_darling(ranks.u)[1]
        folded_p = anderson_darling(folded(ranks.u))[1]
        k = ranks.coordinates
        w = torch.special.ndtri(ranks.u[:k].clamp(1e-300, 1 - 1e-16))
        band_at, band = band_from_zero(n, self.confidence)
        kept = {
            "sbc_ecdf": (("quantity", "rank"), ecdf(ranks.u.numpy())),
            "sbc_folded_ecdf": (("quantity", "rank"), ecdf(folded(ranks.u).numpy())),
            "sbc_band": (("band_at", BOUND), band),
            "sbc_confidence": self.confidence,
        }
        return Measured(
            {
                "sbc_p": min(1.0, q * float(p.min())),
                "sbc_folded_p": min(1.0, q * float(folded_p.min())),
                "sbc_shift": w[p[:k].argmin()].mean(),
                "sbc_width": 1 / w[folded_p[:k].argmin()].std(),
                "sbc_truths": float(n),
                **kept,
            },
            {"quantity": ranks.names, "rank": GRID.tolist(), "band_at": band_at.tolist()},
            unlisted=kept,
        )

    def verdict(self, results: Sequence[Result]) -> list[str]:
        return [
            f"{where}{result.key} {words(result.measured, self.significance)}"
            for where, group in by_point(results, "sbc_p")
            for result in group
        ]
