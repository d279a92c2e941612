"""Where truths stand among draws: distribution functions of ranks and folded ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mempost.core.figure import Figure, Picture
from mempost.core.measured import Array
from mempost.core.result import Result
from mempost.methods.bibliography import SAILYNOJA_2022_GRAPHICAL
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_LINES = (*style.LINES, (0, (5, 1)), (0, (1, 1)))
"""One line for every colour of `style.COLOURS`."""


class RankECDF(Figure):
    """Distribution functions of ranks and folded ranks, less the uniform one, with a band.

    One figure a point of the sweep, one row a sampler, one line a test quantity. Each line of
    calibrated draws stays inside of the band as a whole with the given confidence. Needs the metric
    ``sbc``, which has the quantities and the confidence.
    """

    publications = (SAILYNOJA_2022_GRAPHICAL,)

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        style.with_measured(results, "sbc_ecdf", "rank_ecdf", "sbc")
        for number, group in enumerate(groups := style.by_point(results)):
            kept = [result for result in group.values() if "sbc_ecdf" in result.measured]
            if kept:
                name = "rank_ecdf" if len(groups) == 1 else f"rank_ecdf_{number}"
                yield Picture(name, self._figure(kept), _caption(kept), _alt(kept))

    def _figure(self, results: Sequence[Result]) -> Canvas:
        figure, axes = style.panels(
            len(results), 2, 3.6, 1.75, extra=0.9, sharex="all", sharey="none"
        )
        for (left, right), result in zip(axes, results, strict=True):
            for ax, variable in ((left, "sbc_ecdf"), (right, "sbc_folded_ecdf")):
                self._panel(ax, result, result.measured[variable])
            span = max(abs(limit) for ax in (left, right) for limit in ax.get_ylim())
            for ax in (left, right):
                ax.set_ylim(-span, span)
            parts = (style.title_of(result.point), style.sampler_label(result.key))
            text = ": ".join(part for part in parts if part)
            left.set_title(text, loc="left", fontsize="medium")
            left.set_ylabel("ECDF - uniform", fontsize="small")
        axes[-1, 0].set_xlabel("rank u of the truth")
        axes[-1, 1].set_xlabel("folded rank |2u - 1|")
        style.legend_above(figure, axes)
        return figure

    def _panel(self, ax: Axes, result: Result, ecdf: Array) -> None:
        z, low, high = result.measured["sbc_band"].values.T
        label = f"{float(result.measured['sbc_confidence']):.0%} of calibrated lines"
        ax.fill_between(z, low - z, high - z, color=style.LIGHT, linewidth=0, label=label)
        ax.axhline(0, color=style.GREY, linewidth=0.8)
        names, u = ecdf["quantity"].values.tolist(), ecdf["rank"].values
        many = len(names) > len(style.COLOURS)
        for i, (name, values) in enumerate(zip(names, ecdf.values, strict=True)):
            ax.plot(
                u,
                values - u,
                color=style.BLUE if many else style.COLOURS[i],
                linestyle="-" if many else _LINES[i],
                linewidth=0.6 if many else 1.1,
                alpha=0.5 if many else 1.0,
                label=f"{len(names)} quantities" if many else _math(name),
            )
        ax.set_xlim(0, 1)


def _math(name: str) -> str:
    """x_1 as mathematics, words as they are."""
    return f"${name}$" if name.startswith(("x_", "|")) else name


def _caption(results: Sequence[Result]) -> str:
    first = results[0].measured
    said = [
        f"{style.named(r)} p = {float(r.measured['sbc_p']):.2g} and "
        f"{float(r.measured['sbc_folded_p']):.2g}"
        for r in results
    ]
    return (
        "Distribution functions of the ranks (left) and folded ranks (right) of "
        f"{float(first['sbc_truths']):g} truths among their draws, less the uniform one. A line of "
        "calibrated draws stays in the grey band as a whole with probability "
        f"{float(first['sbc_confidence']):.0%}. Smallest p-values for ranks and folded ranks: "
        f"{'; '.join(said)}."
    )


def _alt(results: Sequence[Result]) -> str:
    said = []
    for r in results:
        ranks, folded = (_largest(r.measured[name]) for name in ("sbc_ecdf", "sbc_folded_ecdf"))
        said.append(f"{style.named(r)} {ranks} for ranks, {folded} for folded ranks")
    return (
        "Lines that start and end at zero over a grey band, one row for every sampler. Farthest "
        f"from zero: {'; '.join(said)}."
    )


def _largest(ecdf: Array) -> str:
    """The largest distance from the uniform law, with its quantity."""
    off = ecdf.values - ecdf["rank"].values
    quantity, at = np.unravel_index(np.abs(off).argmax(), off.shape)
    return f"{off[quantity, at]:+.2f} ({ecdf['quantity'].values[quantity]})"
