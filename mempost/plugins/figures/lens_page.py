"""One page that compares all methods: heat maps, moments, error against stopping time, masses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import lens_panels, style
from mempost.plugins.figures.lens_heatmaps import heat_map_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class LensPage(Figure):
    """One page for every point of the sweep, with all methods: the finite-sample lens at a glance.

    Heat maps of p(x_t | y) (one dimension), spread and mean of x_t, error against the stopping
    time, and masses at the end.
    """

    reference: str = "exact"
    window: tuple[float, float] | None = Field(None, description="of x in the heat maps")
    bins: int = Field(120, ge=10)
    points: int = Field(4, ge=1, description="pages at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        looks = style.looks(results, self.reference)
        for group in style.thinned(style.by_point(results), self.points):
            point = next(iter(group.values())).point
            name = style.stem("lens_page", *(str(value) for value in point.values()))
            title = style.title_of(point)
            page = self._page(group, looks, title)
            yield Picture(name, page, _caption(group, title), _alt(group))

    def _page(
        self, group: Mapping[str, Result], looks: Mapping[str, style.Look], title: str
    ) -> Canvas:
        row = lens_panels.lenses(group)
        line = next(iter(group.values())).problem.dimension == 1
        maps = -(-(len(row) + 1) // 4) if line else 0
        figure = style.canvas(11, 2.0 * maps + 5.6)
        heights = [2.0 * maps, 5.2] if line else [5.2]
        *above, lower = figure.subfigures(
            len(heights), 1, height_ratios=heights, squeeze=False
        ).flat
        for upper in above:
            axes = upper.subplots(maps, 4, squeeze=False, sharex=True, sharey=True)
            heat_map_row(list(axes.flat), row, self.window, self.bins)
            for ax in axes[:, 0]:
                ax.set_ylabel("$x_t$")
            for i, ax in enumerate(axes.flat):
                if i + 4 > len(row):
                    ax.set_xlabel("$t$")
                    ax.tick_params(labelbottom=True)
        panels = lower.subplots(2, 2, squeeze=False)
        for ax in panels.flat:
            ax.spines[["top", "right"]].set_visible(False)
        lens_panels.spread_curves(panels[0, 0], row, looks)
        lens_panels.mean_curves(panels[0, 1], row, looks)
        lens_panels.error_curves(panels[1, 0], row, looks)
        others = lens_panels.in_order(group, self.reference)
        if not lens_panels.mass_bars(panels[1, 1], others, looks):
            panels[1, 1].remove()
        entries: dict[str, Any] = {}
        for ax in (panels[0, 0], panels[1, 0]):
            handles, labels = ax.get_legend_handles_labels()
            entries |= dict(zip(labels, handles, strict=True))
        lower.legend(
            entries.values(),
            entries.keys(),
            loc="outside upper center",
            ncols=5,
            frameon=False,
            fontsize="small",
        )
        if title:
            figure.suptitle(title, fontsize="medium")
        return figure


def _caption(group: Mapping[str, Result], title: str) -> str:
    said = [
        f"{style.sampler_label(key)} {lens.worst_spread}"
        for key, lens in lens_panels.lenses(group).items()
    ]
    at = f" at {title}" if title else ""
    return (
        f"The finite-sample lens{at}: p(x_t | y), spread and mean of x_t, distance to the exact "
        f"law if sampling stops at t, and masses at the end. Spread at worst: {'; '.join(said)}."
    )


def _alt(group: Mapping[str, Result]) -> str:
    names = ", ".join(style.sampler_label(key) for key in lens_panels.lenses(group))
    return (
        f"Heat maps above; below curves of spread, mean and distance over t for {names}, beside "
        "the exact law in black, and bars of the mass on each component."
    )
