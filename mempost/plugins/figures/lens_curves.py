"""Moments of x_t given y, error against the stopping time, and masses at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from mempost.core.figure import Figure
from mempost.core.result import Result
from mempost.plugins.figures import lens_panels, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class LensCurves(Figure):
    """Spread and mean of x_t | y, error against the stopping time, and masses, per method.

    Three figures, each with a column for every point of the sweep: ``lens_moments``,
    ``lens_errors``, ``lens_masses``. In more than one dimension the mean is shown by its error.
    """

    reference: str = "exact"
    points: int = Field(4, ge=1, description="columns at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[tuple[str, Canvas]]:
        groups = style.thinned(style.by_point(results), self.points)
        looks = style.looks(results, self.reference)
        columns = [lens_panels.lenses(group, self.reference) for group in groups]
        panels: dict[str, list[Callable[..., None]]] = {
            "lens_moments": [lens_panels.spread_curves, lens_panels.mean_curves],
            "lens_errors": [lens_panels.error_curves],
        }
        for name, rows in panels.items():
            figure, axes = style.panels(len(rows), len(columns), 3.4, 2.6, extra=0.7)
            for ax_row, draw in zip(axes, rows):
                for ax, column in zip(ax_row, columns):
                    draw(ax, column, looks)
                    ax.set_title(title_of(column), fontsize="medium")
            style.legend_above(figure, axes)
            yield name, figure
        figure, axes = style.panels(1, len(columns), 3.4, 2.6, extra=0.7)
        drawn = False
        for ax, group, column in zip(axes[0], groups, columns):
            others = lens_panels.in_order(group, self.reference)
            drawn = lens_panels.mass_bars(ax, others, looks) or drawn
            ax.set_title(title_of(column), fontsize="medium")
        style.legend_above(figure, axes)
        if drawn:
            yield "lens_masses", figure


def title_of(column: dict[str, lens_panels.Lens]) -> str:
    """The sweep point of a column."""
    return style.title_of(next(iter(column.values())).result.point)
