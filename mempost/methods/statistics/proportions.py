"""A share of independent draws with its interval, by Clopper & Pearson: never too narrow.

Reference: Clopper & Pearson 1934, "The use of confidence or fiducial limits illustrated in the case
of the binomial".
"""

from __future__ import annotations

from scipy.stats import beta

from mempost.core.measured import Variable, interval


def share(found: int, n: int, confidence: float) -> Variable:
    """found/n with the ends of its interval."""
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, found, n - found + 1) if found else 0.0
    high = beta.ppf(1 - tail, found + 1, n - found) if found < n else 1.0
    return interval(found / n, low, high)
