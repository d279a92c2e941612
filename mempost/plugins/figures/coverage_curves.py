"""Nominal against actual coverage: central intervals, and balls around random points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.plugins.figures import style
from mempost.plugins.metrics import bootstrap, ranks
from mempost.plugins.metrics.coverage import interval_levels
from mempost.plugins.metrics.simultaneous_bands import simultaneous_band
from mempost.plugins.metrics.tarp import credibilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class CoverageCurves(Figure):
    """Actual against nominal coverage of central credible intervals, and the TARP curve.

    One figure a point of the sweep, all samplers in it. Left: mean over coordinates, with bootstrap
    intervals over truths. Right: expected coverage of balls around random points, with the band
    that contains the whole curve of calibrated draws at the given confidence. Curves above the
    diagonal belong to draws that are too wide, below it to draws that are too narrow or biased.
    """

    reference: str | None = Field(None, description="sampler drawn in black")
    every: int = Field(1, ge=1, description="use every n-th draw; of Markov chains, one a chain")
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(200, ge=10)

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        looks = style.looks(results, self.reference)
        drawn = False
        for number, group in enumerate(groups := style.by_point(results)):
            kept = [r for r in group.values() if r.samples.truths is not None]
            if kept:
                drawn = True
                name = "coverage_curves" if len(groups) == 1 else f"coverage_curves_{number}"
                yield Picture(name, self._figure(kept, looks), self.summary(), self.summary())
        if not drawn:
            raise PluginError(
                "coverage_curves draws calibration runs; add calibration: {truths: 1000}"
            )

    def _figure(self, results: list[Result], looks: dict[str, style.Look]) -> Canvas:
        figure, axes = style.panels(1, 2, 3.9, 3.7, extra=0.8)
        left, right = axes[0]
        for result in results:
            self._intervals(left, result, looks[result.key])
            self._tarp(right, result, looks[result.key])
        n = len(results[0].samples.values)
        band = simultaneous_band(n, self.confidence, min(n, 100))
        z, low, high = (np.concatenate([[0.0], part]) for part in band)
        label = f"{self.confidence:.0%} of calibrated curves (right)"
        right.fill_between(z, low, high, color=style.LIGHT, linewidth=0, label=label, zorder=0)
        for ax in (left, right):
            ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, zorder=1)
            ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        left.set(xlabel="level of the interval", ylabel="truths inside, mean over coordinates")
        right.set(xlabel="credibility of the ball", ylabel="truths inside")
        title = style.title_of(results[0].point)
        for ax, text in ((left, "central intervals"), (right, "balls around random points (TARP)")):
            ax.set_title(f"{title}\n{text}" if title else text, fontsize="medium")
        style.legend_above(figure, axes)
        return figure

    def _intervals(self, ax: Axes, result: Result, look: style.Look) -> None:
        reached = interval_levels(result, self.every)
        assert reached is not None
        levels = torch.linspace(0, 1, 101, dtype=torch.float64)
        covered = torch.stack([(reached <= level).double().mean(0) for level in levels], 1)
        stream = result.streams.at(tile=ranks.RESAMPLING, step=ranks.STEP)
        counts = bootstrap.resampling_counts(1, len(covered), self.resamples, stream)
        low, high = bootstrap.percentile_interval(counts @ covered / len(covered), self.confidence)
        label = style.sampler_label(result.key)
        ax.fill_between(levels, low, high, color=look.color, alpha=0.2, linewidth=0)
        ax.plot(levels, covered.mean(0), color=look.color, linestyle=look.linestyle, label=label)

    def _tarp(self, ax: Axes, result: Result, look: style.Look) -> None:
        u = credibilities(result, self.every)
        assert u is not None
        fine = np.linspace(0, 1, 501)
        ecdf = np.searchsorted(np.sort(u.numpy()), fine, side="right") / len(u)
        ax.plot(fine, ecdf, color=look.color, linestyle=look.linestyle)
