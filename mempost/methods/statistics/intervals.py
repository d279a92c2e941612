"""Confidence intervals of rates, means and medians that keep their level for few draws, too.

A **rate** p of independent draws has the interval of Clopper & Pearson (1934), whose ends are
quantiles of beta laws; it covers at least as often as it says, and has a length at 0 and 1 as well.
Draws of one Markov chain depend on one another, so with several chains the unit is the chain: the
number of draws becomes the effective one of Korn & Graubard (1998),

    n* = p (1 - p) / var(p) * (t_n-1 / t_c-1)^2,       var(p) from the c chain means,

with t the quantiles of Student's law; c itself where the chains agree to the last draw. A
**median** lies between two order statistics whose places are binomial quantiles. A **mean** has the
studentised bootstrap (Efron & Tibshirani 1993, section 12.5), t* = (m* - m)/s*, which follows the
skewness. With several chains both have Student's interval over the chains. **Differences** and
quotients of rates take the two intervals together (Newcombe 1998; Donner & Zou 2012):

    (p - q)_low = p - q - sqrt((p - p_low)^2 + (q_high - q)^2).

A **norm** or a distance of what was estimated is at most as far off as the estimate, |m* - m| in
resamples: such an interval is longer than it has to be, and holds at zero too.

Where the units do not say how far a mean may be off (all of them equal, or too few), the ends are
NaN: such an interval is withheld.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.special import ndtri, stdtrit
from scipy.stats import beta, binom
from torch import Tensor

from mempost.core.measured import Variable, interval
from mempost.core.streams import Stream
from mempost.methods.statistics.bootstrap import resampling_counts

FEWEST, FEWEST_OF_TWO = 10, 20
"""Draws below which a mean, and a difference of two means, have no interval."""
NAN = float("nan")


class Interval(NamedTuple):
    """A number and the ends of its interval; NaN where it is withheld."""

    value: float
    low: float
    high: float

    def within(self, low: float, high: float) -> Interval:
        """The same, with ends that are not outside of what is possible."""
        return Interval(self.value, max(self.low, low), min(self.high, high))

    @property
    def complement(self) -> Interval:
        """Of one minus the number."""
        return Interval(1 - self.value, 1 - self.high, 1 - self.low)

    @property
    def variable(self) -> Variable:
        """For `Measured`."""
        return interval(*self)


def rate(hits: Float[Tensor, "chains draws"], confidence: float) -> Interval:
    """The share of draws for which something holds.

    Args:
        hits: 1 where it holds and 0 where not; or between, the share of several that go together.
        confidence: the level, such as 0.95.
    """
    p = float(hits.double().mean())
    return rate_of(p, _effective_number(hits.double().cpu(), p, confidence), confidence)


def rate_of(p: float, n: float, confidence: float) -> Interval:
    """The share p of n independent draws."""
    tail, k = (1 - confidence) / 2, p * n
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Interval(p, low, high)


def median(values: Float[Tensor, "chains draws"], confidence: float) -> Interval:
    """The lower median of draws, between two of them."""
    x = values.double().cpu()
    middle = float(x.flatten().median())
    if len(x) > 1:
        return _over_chains(middle, x.median(1).values, confidence)
    ordered, n = x[0].sort().values, x.numel()
    outside = int(binom.ppf((1 - confidence) / 2, n, 0.5))
    if outside < 1:
        return _withheld(middle)
    return Interval(middle, float(ordered[outside - 1]), float(ordered[n - outside]))


def mean(
    values: Float[Tensor, "chains draws"], confidence: float, resamples: int, stream: Stream
) -> Interval:
    """The mean of draws."""
    x = values.double().cpu()
    m = float(x.mean())
    if len(x) > 1:
        return _over_chains(m, x.mean(1), confidence)
    if x.shape[1] < FEWEST:
        return _withheld(m)
    shifts, errors, error = _resampled(x[0], resamples, stream)
    return _studentised(m, error, shifts / errors, confidence)


def difference(
    a: Float[Tensor, " n"],
    b: Float[Tensor, " m"],
    confidence: float,
    resamples: int,
    stream: Stream,
) -> Interval:
    """The difference of the means of two independent sets of independent draws."""
    x, y = a.double().cpu(), b.double().cpu()
    m = float(x.mean() - y.mean())
    if min(len(x), len(y)) < FEWEST_OF_TWO:
        return _withheld(m)
    (shifts, errors, error), (others, their_errors, their_error) = (
        _resampled(z, resamples, stream) for z in (x, y)
    )
    scaled = (shifts - others) / (errors**2 + their_errors**2).sqrt()
    return _studentised(m, math.hypot(error, their_error), scaled, confidence)


def norm(
    value: float, moved: Float[Tensor, " resamples"], units: int, confidence: float
) -> Interval:
    """A norm or a distance, by the triangle inequality: it may be off by what an estimate moves.

    At most as often as said where it is zero, too, where no percentile of a positive number covers.

    Args:
        value: |m|, or the distance of what was estimated.
        moved: |m* - m|, how far resamples lie from it; sums of such distances where both sides of
            a distance are resampled.
        units: that were resampled: draws, or chains.
    """
    if units < 2:
        return _withheld(value)
    upper = (1 + confidence) / 2
    few = float(stdtrit(units - 1, upper) / ndtri(upper)) * math.sqrt(units / (units - 1))
    reach = few * float(torch.quantile(moved.double().cpu(), confidence))
    return Interval(value, max(0.0, value - reach), value + reach)


def rate_difference(p: Interval, q: Interval, correlation: float = 0.0) -> Interval:
    """p - q of two rates, independent or with correlated errors."""
    return Interval(
        p.value - q.value,
        p.value - q.value - _together(p.value - p.low, q.high - q.value, correlation),
        p.value - q.value + _together(p.high - p.value, q.value - q.low, correlation),
    )


def rate_quotient(p: Interval, q: Interval) -> Interval:
    """p / q of two independent rates with q > 0; withheld where q may be 0."""
    pq = p.value * q.value
    below = pq**2 - p.low * q.high * (2 * p.value - p.low) * (2 * q.value - q.high)
    above = pq**2 - p.high * q.low * (2 * p.value - p.high) * (2 * q.value - q.low)
    low = (pq - math.sqrt(max(below, 0.0))) / (q.high * (2 * q.value - q.high))
    room = q.low * (2 * q.value - q.low)
    if room <= 0:
        return _withheld(p.value / q.value)
    high = (pq + math.sqrt(max(above, 0.0))) / room
    return Interval(p.value / q.value, max(low, 0.0), high)


def _effective_number(hits: Float[Tensor, "chains draws"], p: float, confidence: float) -> float:
    """n* of Korn & Graubard; all draws where they are independent."""
    chains, n = len(hits), hits.numel()
    units = hits.mean(1) if chains > 1 else hits[0]
    if len(units) == 1:
        return 1.0
    varies = float(units.var()) / len(units)
    if chains == 1 and bool(((hits == 0) | (hits == 1)).all()):
        return float(n)
    if varies == 0 or p in (0.0, 1.0):
        return float(len(units))
    upper = (1 + confidence) / 2
    wider = float(stdtrit(n - 1, upper) / stdtrit(len(units) - 1, upper)) ** 2
    most = n if chains > 1 else math.inf  # several that go together may count for more than one
    return max(1.0, min(p * (1 - p) / varies * wider, most))


def _resampled(
    x: Float[Tensor, " n"], resamples: int, stream: Stream
) -> tuple[Tensor, Tensor, float]:
    """Of resamples m* - m and the standard error of m*; and that of the mean m itself."""
    counts, n = resampling_counts(1, len(x), resamples, stream), len(x)
    centred = x - x.mean()
    shifts = counts @ centred / n
    variances = (counts @ centred**2 / n - shifts**2).clamp(min=0) / (n - 1)
    return shifts, variances.sqrt(), float(x.std()) / math.sqrt(n)


def _studentised(m: float, error: float, t: Tensor, confidence: float) -> Interval:
    """m - t* error at both ends of t*; a resample of equal draws knows no end."""
    tail = (1 - confidence) / 2
    t = torch.where(t.isnan(), math.inf, t)
    ordered, n = t.sort().values, len(t)
    low, high = (m - float(ordered[min(n - 1, int(q * n))]) * error for q in (1 - tail, tail))
    bounded = error > 0 and math.isfinite(low) and math.isfinite(high)
    return Interval(m, low, high) if bounded else _withheld(m)


def _over_chains(value: float, units: Float[Tensor, " chains"], confidence: float) -> Interval:
    """Student's interval over one number a chain."""
    error = float(units.std()) / math.sqrt(len(units))
    reach = float(stdtrit(len(units) - 1, (1 + confidence) / 2)) * error
    return Interval(value, value - reach, value + reach) if error > 0 else _withheld(value)


def _withheld(value: float) -> Interval:
    return Interval(value, NAN, NAN)


def _together(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(0.0, first**2 + second**2 - 2 * correlation * first * second))
