"""Heat maps of p(x_t | y) over (t, x), one for every method, the exact one first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import lens_panels, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


WIDEST = 6
"""Panels in a line."""


class LensHeatmaps(Figure):
    """Heat maps of p(x_t | y) per method over (t, x), beside the exact law (one dimension).

    A row for every point of the sweep. Densities, by histograms of the particles in the trace.
    """

    reference: str = "exact"
    window: tuple[float, float] | None = Field(None, description="of x; null: the exact law's")
    bins: int = Field(120, ge=10)
    points: int = Field(6, ge=1, description="rows at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        if (d := results[0].problem.dimension) != 1:
            raise PluginError(f"lens_heatmaps draws one dimension, found {d}")
        groups = style.thinned(style.by_point(results), self.points)
        rows = [lens_panels.lenses(group) for group in groups]
        panels = 1 + max(len(row) for row in rows)
        if len(rows) == 1 and panels > WIDEST:
            yield self._picture(self._wrapped(rows[0], panels), rows)
            return
        figure, axes = style.panels(
            len(rows), panels, 1.75, 1.8, extra=0.3, sharex="all", sharey="all"
        )
        for ax_row, row, group in zip(axes, rows, groups):
            heat_map_row(ax_row, row, self.window, self.bins)
            point = style.title_of(next(iter(group.values())).point)
            ax_row[0].set_ylabel(f"{point}\n$x_t$" if point else "$x_t$")
        for ax in axes[1:].flat:
            ax.set_title("")
        for ax in axes[-1]:
            ax.set_xlabel("$t$")
        yield self._picture(figure, rows)

    def _picture(self, canvas: Canvas, rows: Sequence[Mapping[str, lens_panels.Lens]]) -> Picture:
        names = ", ".join(dict.fromkeys(style.sampler_label(key) for row in rows for key in row))
        caption = (
            "p(x_t | y) over t, from the noise at t = 1 to the draws at t = 0: the exact law and "
            f"the particles of {names}. Colours by the square root of the density."
        )
        alt = (
            f"Heat maps over time and x in {len(rows)} rows, one a point of the sweep, with the "
            f"exact law first and then {names}. " + _spreads(rows[-1])
        )
        return Picture("lens_heatmaps", canvas, caption, alt)

    def _wrapped(self, row: Mapping[str, lens_panels.Lens], panels: int) -> Canvas:
        """The panels of a single point, in several lines."""
        lines = -(-panels // WIDEST)
        figure, axes = style.panels(
            lines, -(-panels // lines), 1.75, 1.8, extra=0.3, sharex="all", sharey="all"
        )
        heat_map_row(list(axes.flat), row, self.window, self.bins)
        for ax in axes[:, 0]:
            ax.set_ylabel("$x_t$")
        for ax in figure.axes:
            ax.set_xlabel("$t$")
            ax.tick_params(labelbottom=True)
        return figure


def _spreads(row: Mapping[str, lens_panels.Lens]) -> str:
    said = [f"{style.sampler_label(key)} {lens.worst_spread}" for key, lens in row.items()]
    return f"Spread in the last row, at worst: {'; '.join(said)}."


def heat_map_row(
    axes: Any,
    row: Mapping[str, lens_panels.Lens],
    window: lens_panels.Window | None,
    bins: int,
) -> None:
    """The exact law and every sampler's, on the given axes; those left over are removed."""
    first = next(iter(row.values()))
    window = window or lens_panels.window_of(first)
    exact = lens_panels.exact_density(first, window, bins)
    densities = {} if exact is None else {"exact": (first.t, exact)}
    for key, lens in row.items():
        densities[key] = (lens.t, lens_panels.particle_density(lens, window, bins))
    reference = next(iter(densities.values()))[1]
    top = float(np.quantile(reference.max(0), 0.75))
    for ax, (key, (t, density)) in zip(axes, densities.items()):
        lens_panels.heat_map(ax, t, density, window, top)
        lens_panels.panel_title(ax, style.sampler_label(key))
    for ax in axes[len(densities) :]:
        ax.remove()
