"""Effective number of posterior modes against the bandwidth of the prior."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

METRIC, MARKER = "effective_modes", "dominance_bandwidth"


class EffectiveModesFigure(Figure):
    """Effective posterior modes against the prior bandwidth, a line for every training size.

    Needs the metric ``effective_modes``; markers stand at the ``dominance_bandwidth`` where that is
    measured too.
    """

    coordinate: str = "prior.bandwidth"

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        lines = _lines(results, self.coordinate)
        if not lines:
            raise PluginError(
                f"effective_modes draws the metric effective_modes over a sweep of "
                f"{self.coordinate}; one of them is missing"
            )
        figure, axes = style.panels(1, 1, 5.6, 3.9)
        ax = axes[0, 0]
        colours = style.sequence(len(lines))
        for (label, points), colour in zip(lines.items(), colours, strict=True):
            points = sorted(points, key=lambda point: point[0])
            h, modes = np.array([p[0] for p in points]), np.array([p[1] for p in points])
            ax.plot(h, modes, color=colour, label=label)
            critical = points[0][2]
            if critical is not None and h[0] <= critical <= h[-1]:
                height = math.exp(np.interp(math.log(critical), np.log(h), np.log(modes)))
                ax.plot(critical, height, "o", color=colour, markeredgecolor=style.BLACK)
        markers = any(point[2] is not None for points in lines.values() for point in points)
        if markers:
            ax.plot(
                [], [], "o", color="white", markeredgecolor=style.BLACK, label=r"$h_\mathrm{crit}$"
            )
        ax.set(xscale="log", yscale="log", ylabel=r"effective modes $e^H$")
        ax.set_xlabel(style.axis_label(self.coordinate))
        ax.set_ylim(bottom=0.9)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.grid(True, which="major", color=style.LIGHT, linewidth=0.6)
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        said = []
        for label, points in lines.items():
            ordered = sorted(points, key=lambda point: point[0])
            ends = [f"{modes:.3g} at {h:.3g}" for h, modes, _ in (ordered[0], ordered[-1])]
            said.append(f"{label.replace('$', '')} from {' to '.join(ends)}")
        name = style.axis_label(self.coordinate).replace("$", "")
        caption = f"Effective number of posterior modes e^H against {name}: {'; '.join(said)}."
        marked = " Dots mark where one component begins to dominate." if markers else ""
        alt = f"Curves on logarithmic axes, one for every setting: {'; '.join(said)}.{marked}"
        yield Picture("effective_modes", figure, caption, alt)


def _lines(
    results: Sequence[Result], coordinate: str
) -> dict[str, list[tuple[float, float, float | None]]]:
    """(bandwidth, modes, dominance bandwidth) of every line by its label."""
    several = len({result.key for result in results}) > 1
    lines: dict[str, list[tuple[float, float, float | None]]] = {}
    for result in results:
        if coordinate not in result.point or METRIC not in result.measured:
            continue
        rest: dict[str, Any] = {k: v for k, v in result.point.items() if k != coordinate}
        parts = [style.title_of(rest), style.sampler_label(result.key) if several else ""]
        label = ", ".join(part for part in parts if part) or style.sampler_label(result.key)
        point = (
            float(result.point[coordinate]),
            float(result.measured[METRIC]),
            float(result.measured[MARKER]) if MARKER in result.measured else None,
        )
        lines.setdefault(label, []).append(point)
    return lines
