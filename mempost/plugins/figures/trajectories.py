"""Paths of a flow in the plane over the Voronoi cells of the training examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from mempost.core.capabilities import HasExamples, ask
from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style
from mempost.methods.drawing.cells import draw_cells
from mempost.methods.geometry.paths import Paths


class Trajectories(Figure):
    """Paths u = z/a in the plane, from their starts (rings) to their ends (dots), over cells.

    Needs two coordinates, a prior that keeps its examples and a sampler that keeps states. A panel
    for every sampler and point of the sweep.
    """

    paths: int = Field(30, ge=1, description="paths in a panel, from the first")
    window: tuple[float, float, float, float] | None = Field(
        None, description="left, right, lower, upper; null: what the paths take"
    )
    most: int = Field(6, ge=1, description="panels at most, of sweep points evenly spaced")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        groups = style.by_point([r for r in results if _is_drawable(r)])
        if not groups:
            raise PluginError(
                "trajectories draws paths in two coordinates under a prior that keeps its "
                "examples: add save: {dense: 200} to a reverse sampler"
            )
        shown = [r for g in style.thinned(groups, self.most) for r in g.values()][: self.most]
        rows, columns = style.grid_of(len(shown), 2 if len(shown) == 4 else 3)
        figure, axes = style.panels(rows, columns, 3.4, 3.5, extra=0.4)
        for ax in axes.flat[len(shown) :]:
            ax.set_axis_off()
        for ax, result in zip(axes.flat, shown):
            u, points = self._of(result)
            window = self.window or _window(np.concatenate([u.reshape(-1, 2), points]))
            draw_cells(ax, points, window)
            for path in u:
                ax.plot(*path.T, color=style.BLUE, linewidth=0.8, alpha=0.7, zorder=2)
            ax.plot(*u[:, 0].T, "o", color=style.ORANGE, mfc="none", ms=4, zorder=3, label="start")
            ax.plot(*u[:, -1].T, "o", color=style.VERMILLION, ms=2.5, zorder=5, label="end")
            ax.plot([], [], color=style.BLUE, linewidth=0.8, label="path")
            ax.set_title(style.named(result, "\n"), fontsize="small")
            ax.set_xlabel(style.state_label(result, 0))
            ax.set_ylabel(style.state_label(result, 1))
        style.legend_above(figure, axes)
        names = "; ".join(style.named(r) for r in shown)
        count = min(self.paths, min(len(r.samples) for r in shown))
        caption = (
            f"{count} paths of z/a over the Voronoi cells (grey) of the training examples, for "
            f"{names}."
        )
        alt = (
            f"{len(shown)} panels in the plane. Curves run from rings far out to dots, across grey "
            "lines that divide the plane into the cells of black points."
        )
        yield Picture("trajectories", figure, caption, alt)

    def _of(self, result: Result) -> tuple[np.ndarray, np.ndarray]:
        """In raw coordinates the paths that are drawn, (paths, level, 2), and the examples."""
        paths, prior = Paths.of(result), result.problem.prior
        assert paths is not None
        u = paths.u[: self.paths]
        drawn = prior.coordinates.to_raw(u.flatten(0, 1).to(prior.dtype)).unflatten(0, u.shape[:2])
        points = prior.coordinates.to_raw(paths.points.to(prior.dtype))
        return drawn.cpu().double().numpy(), points.cpu().double().numpy()


def _is_drawable(result: Result) -> bool:
    problem = result.problem
    return (
        problem.dimension == 2
        and ask(problem.prior, HasExamples) is not None
        and result.samples.trajectory is not None
    )


def _window(x: np.ndarray) -> tuple[float, float, float, float]:
    """A square about what lies within, a margin of 5 % left."""
    low, high = x.min(0), x.max(0)
    half = 0.525 * float((high - low).max()) + 1e-9
    (left, lower), (right, upper) = (low + high) / 2 - half, (low + high) / 2 + half
    return float(left), float(right), float(lower), float(upper)
