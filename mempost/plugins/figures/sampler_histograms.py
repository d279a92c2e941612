"""Histograms of every sampler's draws over the exact density."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.measured import bounds
from mempost.core.result import Result
from mempost.methods.drawing import densities, style

SHORT = {
    "sliced_wasserstein": "$SW_1$",
    "energy_distance": "energy",
    "mmd": "MMD",
    "tv_to_exact": "TV",
    "mode_mass_error": "mass error",
}


class SamplerHistograms(Figure):
    """Draws of every sampler as histograms over the exact posterior, one coordinate a figure.

    Rows are samplers, columns points of the sweep. In one dimension the exact density is drawn,
    otherwise a histogram of exact draws. A metric such as ``sliced_wasserstein`` is written into
    the panels where it is measured.
    """

    reference: str = "exact"
    coordinates: tuple[NonNegativeInt, ...] | None = Field(
        None, min_length=1, description="from 0; null: the first two"
    )
    window: tuple[float, float] | None = Field(None, description="null: around the points")
    bins: int = Field(60, ge=2)
    points: int = Field(1001, ge=11, description="of the curves")
    metric: str = "sliced_wasserstein"
    panels: int = Field(4, ge=1, description="columns at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        d = results[0].problem.dimension
        coordinates = range(min(d, 2)) if self.coordinates is None else self.coordinates
        if max(coordinates) >= d:
            raise PluginError(
                f"sampler_histograms: coordinates holds {max(coordinates)}; "
                f"allowed are 0 to {d - 1}"
            )
        groups = style.thinned(style.by_point(results), self.panels)
        keys = [key for key in dict.fromkeys(r.key for r in results) if key != self.reference]
        keys = keys or [self.reference]
        looks = style.looks(results, self.reference)
        for i in coordinates:
            window = self.window or densities.window_of(list(results), i, 0.125)
            figure, axes = style.panels(
                len(keys), len(groups), 3.2, 1.5, extra=0.9, sharex="all", sharey="col"
            )
            for line, key in zip(axes, keys, strict=True):
                for ax, group in zip(line, groups, strict=True):
                    if key in group:
                        exact = group.get(self.reference)
                        self._panel(ax, group[key], exact, i, window, looks[key])
                    else:
                        style.say(ax, "no result")
                    ax.set(xlim=window, ylim=(0, None), yticks=[])
                    ax.spines["left"].set_visible(False)
                name = style.sampler_label(key).replace(" ", "\n")
                line[0].set_ylabel(name, rotation=0, ha="right", va="center")
            for ax, group in zip(axes[0], groups, strict=True):
                ax.set_title(style.title_of(next(iter(group.values())).point), fontsize="medium")
            for ax in axes[-1]:
                ax.set_xlabel(style.state_label(results[0], i))
            style.legend_above(figure, axes)
            name = "sampler_histograms" if d == 1 else f"sampler_histograms_x{i + 1}"
            said = style.numbers(groups, self.metric, self.metric.replace("_", " "))
            caption = (
                f"Histograms of draws, coordinate {i + 1}, over the exact answer in black; ticks "
                f"are training points.{said}"
            )
            alt = f"{len(keys)} rows of histograms, {len(groups)} columns.{said}"
            yield Picture(name, figure, caption, alt)

    def _panel(
        self,
        ax: Any,
        result: Result,
        exact: Result | None,
        i: int,
        window: densities.Window,
        look: style.Look,
    ) -> None:
        def histogram(of: Result) -> tuple[np.ndarray, np.ndarray]:
            values = of.samples.flat[:, i].cpu().numpy()
            return style.histogram(values, window, self.bins)

        heights, edges = histogram(result)
        ax.stairs(heights, edges, fill=True, color=look.color, alpha=0.5, label="draws")
        density = None
        grid = densities.line(window, self.points, result)
        if exact is not None and result.problem.dimension == 1:
            density = densities.posterior_density(exact, grid)
        if exact is not None and density is None:
            heights, edges = histogram(exact)
            ax.stairs(heights, edges, color=style.BLACK, linewidth=1, label="exact draws")
        if density is not None:
            x = grid[:, 0].cpu().numpy()
            ax.plot(x, density, color=style.BLACK, linewidth=1, label="exact density")
        points = densities.training_points(result)[:, i].cpu().numpy()
        style.training_ticks(ax, points)
        if self.metric in result.measured:
            name = SHORT.get(self.metric, self.metric.replace("_", " "))
            text = f"{name} = {bounds(result.measured[self.metric])[0]:.2g}"
            ax.text(1, 1, text, transform=ax.transAxes, ha="right", va="top", fontsize="small")
