"""Posteriors in the plane: the exact one filled, a sampler's on top of it.

Levels are those of highest density regions: the smallest sets that hold a given mass. They show the
small modes that levels at fractions of the peak would hide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field

from mempost.core.capabilities import HasPosteriorComponents, ask
from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import densities, style

Box = tuple[tuple[float, float], tuple[float, float]]


class Densities2D(Figure):
    """The exact posterior in the plane as filled contours, each sampler on top of it.

    Figure 1 (d-f) of Siahkoohi & Sabeddu 2026 where the bandwidth is swept: columns are points of
    the sweep, rows samplers. Densities are contour lines, draws without a density are dots; of a
    linearised mixture, the components that carry weight are shown with 1-sigma ellipses.
    """

    reference: str = "exact"
    window: Box | None = Field(None, description="null: around the training points and the truth")
    points: int = Field(200, ge=10, description="of the grid, along each axis")
    masses: tuple[float, ...] = Field(
        (0.5, 0.8, 0.95, 0.99), min_length=1, description="held by the regions inside the levels"
    )
    panels: int = Field(6, ge=1, description="columns at most, evenly thinned over the sweep")
    dots: int = Field(500, ge=1, description="draws shown of a sampler without a density")
    weight: float = Field(1e-3, ge=0, lt=1, description="of the lightest component shown")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        if (d := results[0].problem.dimension) != 2:
            raise PluginError(f"densities_2d draws two dimensions, found {d}")
        groups = style.thinned(style.by_point(results), self.panels)
        keys = [key for key in dict.fromkeys(r.key for r in results) if key != self.reference]
        keys = keys or [self.reference]
        first, second = (densities.window_of(list(results), i, 0.2) for i in (0, 1))
        box = self.window or (first, second)
        looks = style.looks(results, self.reference)
        ratio = (box[1][1] - box[1][0]) / (box[0][1] - box[0][0])
        figure, axes = style.panels(
            len(keys), len(groups), 3.2, 3.0 * ratio, extra=0.9, sharex="all", sharey="all"
        )
        for column, group in enumerate(groups):
            for row, key in enumerate(keys):
                ax = axes[row, column]
                if key in group:
                    self._panel(ax, group[key], group.get(self.reference), box, looks[key])
                else:
                    style.say(ax, "no result")
                ax.set(xlim=box[0], ylim=box[1], aspect="equal")
                if row == 0:
                    point = next(iter(group.values())).point
                    ax.set_title(style.title_of(point), fontsize="medium")
                if row == len(keys) - 1:
                    ax.set_xlabel(style.state_label(results[0], 0))
        for ax, key in zip(axes[:, 0], keys, strict=True):
            ax.set_ylabel(f"{style.sampler_label(key)}\n{style.state_label(results[0], 1)}")
        style.legend_above(figure, axes)
        said = style.numbers(groups, "tv_to_exact", "total variation to the exact posterior")
        held = ", ".join(f"{mass:.0%}" for mass in self.masses)
        caption = (
            f"Regions that hold {held} of the posterior in the plane, the exact one filled, each "
            f"sampler on top as lines or dots; circles are training points.{said}"
        )
        alt = f"Panels of contours, {len(keys)} rows of samplers, {len(groups)} columns.{said}"
        yield Picture("densities_2d", figure, caption, alt)

    def _panel(
        self, ax: Any, result: Result, exact: Result | None, box: Box, look: style.Look
    ) -> None:
        grid = densities.plane(*box, self.points, result)
        x, y = (np.linspace(*side, self.points) for side in box)
        shape = (self.points, self.points)
        filled = None if exact is None else densities.posterior_density(exact, grid)
        if exact is not None and filled is not None:
            levels = densities.region_levels(filled, self.masses)
            shades = _shades(len(levels))
            ax.contourf(x, y, filled.reshape(shape), [*levels, np.inf], colors=shades)
            label = style.sampler_label(exact.key)
            ax.fill([], [], color=shades[len(shades) // 2], label=label)
        if exact is None or result.key != exact.key:
            self._sampler(ax, result, densities.posterior_density(result, grid), (x, y), look)
        points = densities.training_points(result).cpu().numpy()
        if len(points):
            ax.plot(
                *points.T,
                "o",
                color="none",
                markeredgecolor=style.BLACK,
                markersize=6,
                linestyle="none",
                label="training points",
            )
        if result.truth is not None:
            ax.plot(
                *result.truth.cpu().numpy(),
                "*",
                markersize=13,
                color=style.YELLOW,
                markeredgecolor=style.BLACK,
                linestyle="none",
                label="truth",
                zorder=3,
            )

    def _sampler(
        self,
        ax: Any,
        result: Result,
        density: np.ndarray | None,
        axes: tuple[np.ndarray, np.ndarray],
        look: style.Look,
    ) -> None:
        if density is None:
            dots = result.samples.flat[: self.dots].cpu().numpy()
            ax.plot(
                *dots.T, ".", color=look.color, markersize=4, alpha=0.5, label="draws", zorder=4
            )
            return
        levels = densities.region_levels(density, self.masses)
        shape = (self.points, self.points)
        ax.contour(*axes, density.reshape(shape), levels=levels, colors=look.color, linewidths=1.0)
        ax.plot([], [], color=style.BLACK, label="sampler's density")
        if (mixture := ask(result.posterior, HasPosteriorComponents)) is not None:
            self._components(ax, mixture, look)

    def _components(self, ax: Any, posterior: HasPosteriorComponents, look: style.Look) -> None:
        """Means and 1-sigma ellipses, x = mu + L (cos t, sin t) with L L^T the covariance."""
        index = torch.nonzero(posterior.weights >= self.weight)[:, 0]
        means = posterior.component_means[index]
        t = torch.linspace(0, 2 * torch.pi, 65, dtype=means.dtype, device=means.device)
        values, vectors = torch.linalg.eigh(posterior.component_covariances(index))
        roots = vectors * values.clamp(min=0).sqrt()[:, None]
        ellipses = means[:, None] + torch.stack([t.cos(), t.sin()], 1) @ roots.mT
        for ellipse in ellipses.cpu().numpy():
            ax.plot(*ellipse.T, color=look.color, linewidth=1.0, linestyle="--")
        ax.plot(*means.cpu().numpy().T, "x", color=look.color, markersize=6, linestyle="none")
        label = r"components: mean, 1$\sigma$"
        ax.plot([], [], "x", color=style.BLACK, linewidth=1.0, linestyle="--", label=label)


def _shades(count: int) -> list[Any]:
    """Greys from light to dark."""
    from matplotlib import colormaps

    return [colormaps["Greys"](value) for value in np.linspace(0.15, 0.65, count)]
