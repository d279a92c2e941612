"""Voronoi cells in the plane, and paths over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR = 1e3
"""Distance, over the size of the data, of the points that close the outer cells."""


def edges(points: np.ndarray) -> list[np.ndarray]:
    """Segments (2, 2) between the cells of distinct points (n, 2)."""
    from scipy.spatial import Voronoi

    if len(points) < 2:
        return []
    centre = points.mean(0)
    size = np.abs(points - centre).max()
    around = centre + FAR * size * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    cells = Voronoi(np.concatenate([points, around]))
    inner = (cells.ridge_points < len(points)).all(1)
    found = [
        cells.vertices[v] for v, own in zip(cells.ridge_vertices, inner) if own and -1 not in v
    ]
    return [np.asarray(segment) for segment in found]


def draw_cells(ax: Axes, points: np.ndarray, window: tuple[float, float, float, float]) -> None:
    """Edges of the cells and the points, in the window (left, right, lower, upper)."""
    from matplotlib.collections import LineCollection

    ax.add_collection(LineCollection(edges(points), colors=style.LIGHT, linewidths=1.0, zorder=1))
    ax.plot(*points.T, "o", color=style.BLACK, ms=4.5, zorder=4, label="training examples")
    ax.set(xlim=window[:2], ylim=window[2:], aspect="equal")
