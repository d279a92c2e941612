"""Where truths stand among draws: distribution functions of ranks and folded ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.plugins.bibliography import SAILYNOJA_2022_GRAPHICAL
from mempost.plugins.figures import style
from mempost.plugins.metrics.quantities import Quantities, Ranks
from mempost.plugins.metrics.ranks import folded
from mempost.plugins.metrics.simultaneous_bands import simultaneous_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_LINES = (*style.LINES, (0, (5, 1)), (0, (1, 1)))
"""One line for every colour of `style.COLOURS`."""


class RankECDF(Figure):
    """Distribution functions of ranks and folded ranks, less the uniform one, with a band.

    One figure a point of the sweep, one row a sampler, one line a test quantity. Each line of
    calibrated draws stays inside of the band as a whole with the given confidence. Ranks are those
    of the metric `sbc` with the same ``quantities``.
    """

    publications = (SAILYNOJA_2022_GRAPHICAL,)

    quantities: Quantities = Field(default_factory=Quantities)
    every: int = Field(1, ge=1, description="use every n-th draw; of Markov chains, one a chain")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the band, for a line as a whole")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        drawn = False
        for number, group in enumerate(groups := style.by_point(results)):
            rows = {key: self.quantities.of(result, self.every) for key, result in group.items()}
            kept = {key: ranks for key, ranks in rows.items() if ranks is not None}
            if kept:
                drawn = True
                name = "rank_ecdf" if len(groups) == 1 else f"rank_ecdf_{number}"
                figure = self._figure(kept, next(iter(group.values())))
                yield Picture(name, figure, self.summary(), self.summary())
        if not drawn:
            raise PluginError("rank_ecdf draws calibration runs; add calibration: {truths: 1000}")

    def _figure(self, rows: dict[str, Ranks], first: Result) -> Canvas:
        figure, axes = style.panels(len(rows), 2, 3.6, 1.75, extra=0.9, sharex="all", sharey="none")
        title = style.title_of(first.point)
        for (left, right), (key, ranks) in zip(axes, rows.items(), strict=True):
            for ax, u in ((left, ranks.u), (right, folded(ranks.u))):
                self._panel(ax, ranks.names, u.numpy())
            span = max(abs(limit) for ax in (left, right) for limit in ax.get_ylim())
            for ax in (left, right):
                ax.set_ylim(-span, span)
            text = ": ".join(part for part in (title, style.sampler_label(key)) if part)
            left.set_title(text, loc="left", fontsize="medium")
            left.set_ylabel("ECDF - uniform", fontsize="small")
        axes[-1, 0].set_xlabel("rank u of the truth")
        axes[-1, 1].set_xlabel("folded rank |2u - 1|")
        style.legend_above(figure, axes)
        return figure

    def _panel(self, ax: Axes, names: Sequence[str], u: np.ndarray) -> None:
        n = u.shape[1]
        band = simultaneous_band(n, self.confidence, min(n, 100))
        z = np.concatenate([[0.0], band.z])
        low, high = (np.concatenate([[0.0], bound]) - z for bound in (band.low, band.high))
        label = f"{self.confidence:.0%} of calibrated lines"
        ax.fill_between(z, low, high, color=style.LIGHT, linewidth=0, label=label)
        ax.axhline(0, color=style.GREY, linewidth=0.8)
        fine = np.linspace(0, 1, 501)
        many = len(names) > len(style.COLOURS)
        for i, (name, values) in enumerate(zip(names, u, strict=True)):
            ecdf = np.searchsorted(np.sort(values), fine, side="right") / n
            ax.plot(
                fine,
                ecdf - fine,
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
