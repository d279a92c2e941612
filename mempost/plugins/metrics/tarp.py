"""TARP: tests of accuracy with random points.

Take a reference point r at random, independent of the truth x, its data and its draws. The share of
draws nearer to r than the truth is the credibility of the ball around r that ends at the truth,

    u = P(|X - r| < |x - r|  |  y),        X ~ the draws for y,

uniform if the draws are right. Its distribution function is the expected coverage ECP(alpha) =
P(u < alpha), one curve for all dimensions at once; for many r it decides whether the posterior is
right, up to what no independent r can see: a sampler that draws from the prior. Ties, which atoms
bring, are broken at random (see `ranks`). The area to the diagonal in the upper half,

    ATC = int_(1/2)^1 (ECP(alpha) - alpha) d alpha = mean(1 - max(u, 1/2)) - 3/8,

is positive for draws that are too wide and negative for draws that are too narrow, or biased.

Reference: Lemos, Coogan, Hezaveh & Perreault-Levasseur 2023, "Sampling-based accuracy testing of
posterior estimators for general inference".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from pydantic import Field
from scipy.stats import kstest
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.measured import BOUND, Array, Measured, bounds
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import LEMOS_2023_SAMPLING
from mempost.methods.statistics import intervals, ranks
from mempost.methods.statistics.calibration_verdict import by_point, number
from mempost.methods.statistics.simultaneous_bands import GRID, band_from_zero, ecdf


class TARP(Metric):
    """Expected coverage of balls around random points: area to the diagonal, and a p-value.

    Columns ``tarp_atc`` (0 if right, above 0 too wide, below 0 too narrow or biased) with its
    bootstrap interval ``_low``, ``_high``, and ``tarp_p`` (Kolmogorov-Smirnov, exact). Reference
    points are normal with the mean and the standard deviation of the truths. For calibration runs
    with truths from the prior and draws that are independent given the data.

    For pictures the whole curve ``tarp_curve`` is kept, with the band ``tarp_band`` that holds all
    of it with the probability ``confidence`` if draws are right.
    """

    publications = (LEMOS_2023_SAMPLING,)

    every: int = Field(1, ge=1, description="use every n-th draw; of Markov chains, one a chain")
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(1000, ge=10, examples=[20])
    significance: float = Field(
        1e-4, gt=0, lt=1, description="p below which the verdict calls draws miscalibrated"
    )

    def evaluate(self, result: Result) -> Measured:
        u = credibilities(result, self.every)
        if u is None:
            return Measured()
        terms = 0.625 - u.clamp(min=0.5)
        stream = result.streams.at(tile=ranks.RESAMPLING, step=ranks.STEP)
        atc = intervals.mean(terms[None], self.confidence, self.resamples, stream)
        p = float(kstest(u.numpy(), "uniform", method="exact").pvalue)
        band_at, band = band_from_zero(len(u), self.confidence)
        kept = {
            "tarp_curve": ("credibility", ecdf(u.numpy())),
            "tarp_band": (("band_at", BOUND), band),
            "tarp_confidence": self.confidence,
        }
        return Measured(
            {"tarp_atc": atc.variable, "tarp_p": p, **kept},
            {"credibility": GRID.tolist(), "band_at": band_at.tolist()},
            unlisted=kept,
        )

    def verdict(self, results: Sequence[Result]) -> list[str]:
        return [
            f"{where}by TARP, "
            + "; ".join(f"{result.key} {self._words(result.measured)}" for result in group)
            + "."
            for where, group in by_point(results, "tarp_p")
        ]

    def _words(self, measured: Mapping[str, Array]) -> str:
        atc, low, high = bounds(measured["tarp_atc"])
        p = float(measured["tarp_p"])
        shown = f"ATC {atc:+.3f}, p = {number(p)}"
        if p >= self.significance:
            return f"covers as it should ({shown})"
        if low <= 0 <= high:
            return f"covers wrongly, without being too wide or too narrow ({shown})"
        wrong = "too wide" if atc > 0 else "too narrow, or biased"
        return f"is {wrong} ({shown})"


def credibilities(result: Result, every: int = 1) -> Float[Tensor, "t"] | None:
    """u of every truth of a calibration run; None outside of one.

    Raises:
        PluginError: there is one truth, and so no spread of truths to take reference points from.
    """
    found = ranks.calibration_draws(result, every)
    if found is None:
        return None
    truths, draws = found.truths, found.values
    if len(truths) < 2:
        raise PluginError("tarp needs two truths or more: raise calibration.truths")
    centre, scale = truths.mean(0), truths.std(0)
    stream = result.streams.at(tile=ranks.REFERENCES, step=ranks.STEP)
    r = centre + scale * stream.normal(tuple(truths.shape))
    ties = result.streams.at(tile=ranks.DISTANCE_TIES, step=ranks.STEP)
    return ranks.randomised_ranks(
        (truths - r).norm(dim=-1), (draws - r[:, None]).norm(dim=-1), found.same(), ties
    )
