"""Prior, likelihood and posteriors on the line, a panel for every point of the sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import densities, style


class Densities1D(Figure):
    """Prior, likelihood, exact posterior and the samplers' densities on the line.

    Figure 1 (a-c) of Siahkoohi & Sabeddu 2026 where the bandwidth is swept. The likelihood is
    normalised in x over the window. Samplers without a density are drawn as histograms.
    """

    reference: str = "exact"
    window: tuple[float, float] | None = Field(None, description="null: around the points")
    points: int = Field(2001, ge=11, description="of the curves")
    bins: int = Field(60, ge=2, description="of histograms, over the window")
    panels: int = Field(12, ge=1, description="at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        if (d := results[0].problem.dimension) != 1:
            raise PluginError(f"densities_1d draws one dimension, found {d}")
        groups = style.thinned(style.by_point(results), self.panels)
        window = self.window or densities.window_of(list(results), 0, 0.125)
        looks = style.looks(results, self.reference)
        rows, columns = style.grid_of(len(groups), 3)
        figure, axes = style.panels(rows, columns, 3.6, 2.7, extra=0.7, sharex="all")
        for ax, group in zip(axes.flat, groups):
            self._panel(ax, group, window, looks)
        for ax in axes.flat[len(groups) :]:
            ax.remove()
        for ax in axes[:, 0]:
            ax.set_ylabel("density")
        style.legend_above(figure, axes)
        said = style.numbers(groups, "tv_to_exact", "total variation to the exact posterior")
        caption = (
            "Prior, likelihood (normalised in x) and posteriors on the line; ticks are training "
            f"points, samplers without a density are histograms.{said}"
        )
        alt = f"{len(groups)} panels of curves and histograms over x.{said}"
        yield Picture("densities_1d", figure, caption, alt)

    def _panel(
        self,
        ax: Any,
        group: dict[str, Result],
        window: densities.Window,
        looks: dict[str, style.Look],
    ) -> None:
        first = next(iter(group.values()))
        grid = densities.line(window, self.points, first)
        x = grid[:, 0].cpu().numpy()
        spacing = x[1] - x[0]
        tops: list[float] = []
        prior = densities.prior_density(first, grid)
        if prior is not None:
            ax.plot(x, prior, color=style.GREY, linewidth=1, label="prior")
            tops.append(prior.max())
        likelihood = densities.likelihood(first, grid)
        if likelihood is not None:
            tops.append((likelihood / spacing).max())
            dotted = {"color": style.GREY, "linestyle": ":", "linewidth": 1.4}
            ax.plot(x, likelihood / spacing, label="likelihood (in $x$)", **dotted)
        for key, result in sorted(group.items(), key=lambda item: item[0] != self.reference):
            label, look = style.sampler_label(key), looks[key]
            density = densities.posterior_density(result, grid)
            if density is None:
                values = result.samples.flat[:, 0].cpu().numpy()
                heights, edges = style.histogram(values, window, self.bins)
                ax.stairs(heights, edges, label=label, alpha=0.9, **look._asdict())
                continue
            tops.append(density.max())
            if key == self.reference:
                ax.fill_between(x, density, color=style.LIGHT, linewidth=0)
            ax.plot(x, density, label=label, linewidth=1.5, **look._asdict())
        style.training_ticks(ax, densities.training_points(first)[:, 0].cpu().numpy())
        if first.truth is not None:
            ax.axvline(
                float(first.truth[0]), color=style.BLACK, linestyle=(0, (1, 3)), label="truth"
            )
        ax.set_xlim(*window)
        if tops:
            ax.set_ylim(0, 1.08 * float(np.max(tops)))
        ax.set_xlabel(style.state_label(first))
        ax.set_title(style.title_of(first.point), fontsize="medium")
