"""Moments of x_t given y, error against the stopping time, and masses at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import lens_panels, style

CAPTIONS = {
    "lens_moments": "Spread and mean of x_t given y on the way from noise (t = 1) to the draws "
    "(t = 0); the exact ones in grey.",
    "lens_errors": "Distance of a sampler's x_t to the exact law: the error if sampling stops at "
    "t. The grey area is that of as many exact draws.",
    "lens_masses": "Mass of the draws on the components of the prior, lines at the exact masses; "
    "of many components, the mass on wrong ones and near none.",
}


class LensCurves(Figure):
    """Spread and mean of x_t | y, error against the stopping time, and masses, per method.

    Three figures, each with a column for every point of the sweep: ``lens_moments``,
    ``lens_errors``, ``lens_masses``. In more than one dimension the mean is shown by its error.
    """

    reference: str = "exact"
    points: int = Field(4, ge=1, description="columns at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        groups = style.thinned(style.by_point(results), self.points)
        looks = style.looks(results, self.reference)
        columns = [lens_panels.lenses(group) for group in groups]
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
            yield Picture(name, figure, CAPTIONS[name], _alt(name, columns))
        figure, axes = style.panels(1, len(columns), 3.4, 2.6, extra=0.7)
        drawn = False
        for ax, group, column in zip(axes[0], groups, columns):
            others = lens_panels.in_order(group, self.reference)
            drawn = lens_panels.mass_bars(ax, others, looks) or drawn
            ax.set_title(title_of(column), fontsize="medium")
        style.legend_above(figure, axes)
        if drawn:
            yield Picture("lens_masses", figure, CAPTIONS["lens_masses"], _masses(groups))


def _alt(name: str, columns: Sequence[dict[str, lens_panels.Lens]]) -> str:
    """Where every sampler is worst, point by point."""
    said = []
    for column in columns:
        parts = []
        for key, lens in column.items():
            w1, null = float(lens["w1"][-1]), float(lens["w1_null"][-1])
            far = f"{w1:.2g} at t = {lens.t[-1]:g} where exact draws have {null:.2g}"
            shown = lens.worst_spread if name == "lens_moments" else far
            parts.append(f"{style.sampler_label(key)} {shown}")
        said.append(f"{title_of(column)} {'; '.join(parts)}".strip())
    what = "Spread at worst" if name == "lens_moments" else "Distance at the last level"
    return f"Curves over t, a panel for every point of the sweep. {what}: {'. '.join(said)}."


def _masses(groups: Sequence[dict[str, Result]]) -> str:
    said = [
        f"{style.sampler_label(r.key)} {float(r.measured['hallucinated_mass']):.1%}"
        for group in groups
        for r in group.values()
        if "hallucinated_mass" in r.measured
    ]
    return f"Bars of masses, a panel for every point. Mass on wrong components: {', '.join(said)}."


def title_of(column: dict[str, lens_panels.Lens]) -> str:
    """The sweep point of a column."""
    return style.title_of(next(iter(column.values())).result.point)
