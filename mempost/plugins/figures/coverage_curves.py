"""Nominal against actual coverage: central intervals, and balls around random points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class CoverageCurves(Figure):
    """Actual against nominal coverage of central credible intervals, and the TARP curve.

    One figure a point of the sweep, all samplers in it. Left: mean over coordinates, with bootstrap
    intervals over truths. Right: expected coverage of balls around random points, with the band
    that contains the whole curve of calibrated draws. Curves above the diagonal belong to draws
    that are too wide, below it to draws that are too narrow or biased. Needs the metrics
    ``coverage`` and ``tarp``, which have the confidence.
    """

    reference: str | None = Field(None, description="sampler drawn in black")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        looks = style.looks(results, self.reference)
        results = style.with_measured(results, "coverage_curve", "coverage_curves", "coverage")
        results = style.with_measured(results, "tarp_curve", "coverage_curves", "tarp")
        for number, group in enumerate(groups := style.by_point(results)):
            kept = list(group.values())
            name = "coverage_curves" if len(groups) == 1 else f"coverage_curves_{number}"
            yield Picture(name, self._figure(kept, looks), _caption(kept), _alt(kept))

    def _figure(self, results: list[Result], looks: dict[str, style.Look]) -> Canvas:
        figure, axes = style.panels(1, 2, 3.9, 3.7, extra=0.8)
        left, right = axes[0]
        for result in results:
            _intervals(left, result, looks[result.key])
            curve, look = result.measured["tarp_curve"], looks[result.key]
            right.plot(curve["credibility"], curve, color=look.color, linestyle=look.linestyle)
        first = results[0].measured
        z, low, high = first["tarp_band"].values.T
        label = f"{float(first['tarp_confidence']):.0%} of calibrated curves (right)"
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


def _intervals(ax: Axes, result: Result, look: style.Look) -> None:
    curve = result.measured["coverage_curve"]
    levels = curve["nominal"].values
    value, low, high = curve.values.T
    label = style.sampler_label(result.key)
    ax.fill_between(levels, low, high, color=look.color, alpha=0.2, linewidth=0)
    ax.plot(levels, value, color=look.color, linestyle=look.linestyle, label=label)


def _caption(results: Sequence[Result]) -> str:
    said = []
    for r in results:
        coverage = r.measured["coverage"]
        at = ", ".join(
            f"{style.in_words(coverage.sel(level=level))} at {level:g}"
            for level in coverage["level"].values
        )
        said.append(f"{style.named(r)} {at}, ATC {style.in_words(r.measured['tarp_atc'])}")
    return (
        "Share of truths inside central credible intervals of a level (left, mean over "
        "coordinates) and inside balls around random points (right). Draws that are right follow "
        f"the diagonal; below it they are too narrow or biased. Covered: {'; '.join(said)}."
    )


def _alt(results: Sequence[Result]) -> str:
    said = []
    for r in results:
        off = r.measured["coverage_curve"].sel(bound="value") - r.measured["coverage_curve"].nominal
        place = int(abs(off.values).argmax())
        said.append(f"{style.named(r)} {float(off[place]):+.2f} at {float(off.nominal[place]):g}")
    return (
        "Two panels of curves around the diagonal. Coverage of intervals less their level is, "
        f"where it is largest, {'; '.join(said)}."
    )
