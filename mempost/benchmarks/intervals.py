"""How often the intervals of the table cover what they name, and how often tests reject by chance.

Every row repeats a measurement on fresh draws of a law whose number is known. ``covers`` is the
share of intervals that hold it, among those that are given; ``withheld`` the share that is not
given; ``length`` their mean length. For a test ``rejects`` is the share of p-values below 0.05, or
of statistics above the 95 % line, where nothing is wrong. An error of a share of s simulations is
sqrt(.05 * .95 / s): .0049 for 2000 of them, .011 for the 400 of the classifier.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from scipy.stats import kstest
from torch import Tensor

from mempost.core.streams import Stream, Streams
from mempost.methods.statistics import distances, intervals
from mempost.methods.statistics.bootstrap import resampling_counts
from mempost.methods.statistics.distance_to_exact import FEWEST, between
from mempost.methods.statistics.intervals import Interval
from mempost.methods.statistics.ranks import folded
from mempost.methods.statistics.simultaneous_bands import band_from_zero
from mempost.methods.statistics.uniformity import anderson_darling
from mempost.plugins.metrics.c2st import ClassifierTwoSampleTest

LEVEL = 0.95
NUMBERS = (12, 64, 256)
CHAINS, CORRELATION = 4, 0.8
RESAMPLES, OF_DISTANCES = 1000, 200
DIMENSION = 10
MASSES = (0.5, 0.3, 0.15, 0.05)
NORMAL = NormalDist()

Draw = Callable[[int, Stream], Tensor]
Measure = Callable[[int, Stream], Interval]
Test = Callable[[int, Stream], bool]


def run(quick: bool) -> list[dict[str, Any]]:
    """Rows by interval or test, law and number of draws; ``quick`` simulates a fifth of it."""
    simulations = 400 if quick else 2000
    rows = [coverage(*case, n, simulations) for case in cases() for n in NUMBERS]
    for name, law, rejects, fewest in null_cases():
        numbers = (n for n in (*NUMBERS, 1000) if n >= fewest)
        rows += [rejection(name, law, rejects, n, simulations) for n in numbers]
    if importlib.util.find_spec("sklearn") is not None:
        rows += [rejection("c2st", "normal", _c2st, n, min(simulations, 400)) for n in (64, 256)]
    return rows


def coverage(
    name: str, law: str, truth: float, measure: Measure, n: int, simulations: int
) -> dict[str, Any]:
    """How often an interval holds the number that it names, and how long it is."""
    found = [measure(n, Streams(k, "metric").at()) for k in range(simulations)]
    given = [one for one in found if not math.isnan(one.low)]
    row: dict[str, Any] = {"of": name, "law": law, "n": n}
    row["withheld"] = 1 - len(given) / simulations
    if given:
        row["covers"] = sum(one.low <= truth <= one.high for one in given) / len(given)
        row["length"] = sum(one.high - one.low for one in given) / len(given)
    return row


def rejection(name: str, law: str, rejects: Test, n: int, simulations: int) -> dict[str, Any]:
    """How often a test rejects where nothing is wrong."""
    share = sum(bool(rejects(n, Streams(k, "metric").at())) for k in range(simulations))
    return {"of": name, "law": law, "n": n, "rejects": share / simulations}


def cases() -> Iterator[tuple[str, str, float, Measure]]:
    """Interval, law, the number it names, and a function that draws and measures it."""
    for p in (0.03, 0.3):
        yield "rate", f"p = {p}", p, _rate(p)
        yield "rate", f"p = {p}, chains", p, _rate_of_chains(p)
    for p, q in ((0.3, 0.1), (0.05, 0.03)):
        yield "excess", f"p = {p}, {q}", p - q, _excess(p, q)
        yield "corrected", f"p = {p}, {q}", (p - q) / (1 - q), _corrected(p, q)
    for law, (draw, mean, median) in LAWS.items():
        yield "mean", law, mean, _mean(draw)
        yield "median", law, median, _median(draw)
        if law != "chains":
            yield "difference", law, -mean, _difference(draw)
    for shift in (0.0, 0.3):
        yield "norm of a mean", f"d = {DIMENSION}, |m| = {shift}", shift, _norm_of_mean(shift)
    for error in (0.0, 0.2):
        yield "mode masses", f"off by {error}", error, _masses(error)
    for shift in (0.0, 0.5):
        law = f"normals {shift} apart"
        yield "sliced_wasserstein", law, shift, _distance(shift, _wasserstein)
        yield "energy_distance", law, _energy_between(shift), _distance(shift, _energy)


def null_cases() -> Iterator[tuple[str, str, Test, int]]:
    """Test, what it looks at, whether it rejects where nothing is wrong, and its fewest draws."""
    yield "sbc", "ranks", lambda n, s: _not_uniform(s.uniform((n,))), 1
    yield "sbc", "folded ranks", lambda n, s: _not_uniform(folded(s.uniform((n,)))), 1
    yield "sbc", "band", lambda n, s: _leaves_band(s.uniform((n,)).numpy()), 1
    yield "tarp", "credibilities", lambda n, s: _by_kolmogorov(s.uniform((n,)).numpy()), 1
    yield "tarp", "area", _area_misses_zero, intervals.FEWEST
    yield "sliced_wasserstein", "null_high", _above_line, FEWEST


# -- laws ---------------------------------------------------------------------------------------


def _chains(n: int, s: Stream) -> Tensor:
    """n normal numbers with mean 1 in autocorrelated chains."""
    x, rows = s.normal((CHAINS, 1)), []
    for _ in range(n // CHAINS):
        x = CORRELATION * x + math.sqrt(1 - CORRELATION**2) * s.normal((CHAINS, 1))
        rows.append(x)
    return torch.cat(rows, 1) + 1


LAWS: dict[str, tuple[Draw, float, float]] = {
    "normal": (lambda n, s: s.normal((1, n)) + 1, 1.0, 1.0),
    "exponential": (lambda n, s: -(1 - s.uniform((1, n))).log(), 1.0, math.log(2)),
    "log-normal": (lambda n, s: s.normal((1, n)).exp(), math.exp(0.5), 1.0),
    "chains": (_chains, 1.0, 1.0),
}
"""Draws (chains, draws), their mean and their median."""


# -- intervals ----------------------------------------------------------------------------------


def _rate(p: float) -> Measure:
    return lambda n, s: intervals.rate((s.uniform((1, n)) < p).double(), LEVEL)


def _rate_of_chains(p: float) -> Measure:
    line = 1 + NORMAL.inv_cdf(p)
    return lambda n, s: intervals.rate((_chains(n, s) < line).double(), LEVEL)


def _excess(p: float, q: float) -> Measure:
    return lambda n, s: intervals.rate_difference(_rate(p)(n, s), _rate(q)(n, s))


def _corrected(p: float, q: float) -> Measure:
    def measure(n: int, s: Stream) -> Interval:
        rate, null = _rate(p)(n, s), _rate(q)(n, s)
        if null.value == 1:
            return Interval(math.nan, math.nan, math.nan)
        return intervals.rate_quotient(rate.complement, null.complement).complement

    return measure


def _mean(draw: Draw) -> Measure:
    return lambda n, s: intervals.mean(draw(n, s), LEVEL, RESAMPLES, s)


def _median(draw: Draw) -> Measure:
    return lambda n, s: intervals.median(draw(n, s), LEVEL)


def _difference(draw: Draw) -> Measure:
    return lambda n, s: intervals.difference(draw(n, s)[0], 2 * draw(n, s)[0], LEVEL, RESAMPLES, s)


def _norm_of_mean(shift: float) -> Measure:
    def measure(n: int, s: Stream) -> Interval:
        x = s.normal((n, DIMENSION))
        x[:, 0] += shift
        moved = ((resampling_counts(1, n, RESAMPLES, s) - 1) / n @ x).norm(dim=1)
        return intervals.norm(float(x.mean(0).norm()), moved, n, LEVEL)

    return measure


def _masses(error: float) -> Measure:
    masses = torch.tensor(MASSES, dtype=torch.float64)
    exact = masses + torch.tensor([-error, error, 0, 0], dtype=torch.float64)

    def measure(n: int, s: Stream) -> Interval:
        members = torch.nn.functional.one_hot(s.categorical(masses, n), len(masses)).double()
        mean = members.mean(0)
        resampled = resampling_counts(1, n, OF_DISTANCES, s) @ members / n
        value, moved = (0.5 * d.abs().sum(-1) for d in (mean - exact, resampled - mean))
        return intervals.norm(float(value), moved, n, LEVEL).within(0, 1)

    return measure


def _wasserstein(z: Tensor, w: Tensor) -> Tensor:
    return distances.sliced_wasserstein(z, w, torch.ones(1, 1, dtype=torch.float64))


def _energy(z: Tensor, w: Tensor) -> Tensor:
    return distances.squared_energy_distance(z, w).clamp(min=0).sqrt()


def _energy_between(shift: float) -> float:
    """Energy distance of N(0, 1) and N(shift, 1)."""
    away = 2 * math.exp(-(shift**2) / 4) / math.sqrt(math.pi) + shift * math.erf(shift / 2)
    return math.sqrt(max(0.0, 2 * away - 4 / math.sqrt(math.pi)))


def _distance(shift: float, distance: distances.Statistic) -> Measure:
    def measure(n: int, s: Stream) -> Interval:
        x, y = s.normal((n, 1)), s.normal((n, 1)) + shift
        u, v = (resampling_counts(1, n, OF_DISTANCES, s) for _ in range(2))
        return between(distance, x, y, u, v, n, LEVEL)

    return measure


# -- tests --------------------------------------------------------------------------------------


def _not_uniform(u: Tensor) -> bool:
    return float(anderson_darling(u)[1]) < 1 - LEVEL


def _by_kolmogorov(u: np.ndarray) -> bool:
    return bool(kstest(u, "uniform", method="exact").pvalue < 1 - LEVEL)


def _leaves_band(u: np.ndarray) -> bool:
    z, band = band_from_zero(len(u), LEVEL)
    reached = np.searchsorted(np.sort(u), z) / len(u)
    return bool(((reached < band[:, 1] - 1e-9) | (reached > band[:, 2] + 1e-9)).any())


def _area_misses_zero(n: int, s: Stream) -> bool:
    terms = 0.625 - s.uniform((1, n)).clamp(min=0.5)
    found = intervals.mean(terms, LEVEL, RESAMPLES, s)
    return not found.low <= 0 <= found.high


def _above_line(n: int, s: Stream) -> bool:
    """Whether exact draws lie above the 95 % line of splits of exact draws."""
    x, y, more = (s.normal((n, 1)) for _ in range(3))
    halves = torch.cat([torch.ones(n), -torch.ones(n)]).double() / n
    splits = torch.stack([halves[s.permutation(2 * n)] for _ in range(OF_DISTANCES)])
    line = torch.quantile(_wasserstein(torch.cat([y, more]), splits), LEVEL)
    return bool(_wasserstein(torch.cat([x, y]), halves[None])[0] > line)


def _c2st(n: int, s: Stream) -> bool:
    classifier: Any = ClassifierTwoSampleTest(classifier="quadratic")
    found = classifier.compared(s.normal((n, 2)), s.normal((n, 2)), 2, s)
    return float(found["c2st_p"]) < 1 - LEVEL
