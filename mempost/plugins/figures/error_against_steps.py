"""A distance to the exact answer against the number of steps, and the order of convergence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.measured import Array, bounds
from mempost.core.result import Result
from mempost.methods.drawing import style

NOTHING = Array(np.nan)


class Point(NamedTuple):
    """One point of a line."""

    step: float
    value: float
    low: float
    high: float
    floor: float
    """What exact draws exceed in 5 % of cases; 0 if it was not measured."""


class ErrorAgainstSteps(Figure):
    """A metric against a numerical coordinate of the sweep, log-log, with fitted slopes.

    ``coordinate`` may be a pattern, ``samplers.*.steps``: every sampler is then drawn over its own
    number of steps. Slopes are fitted to the points above the Monte-Carlo floor (``_null_high``),
    which is drawn where it is measured.
    """

    metric: str = "sliced_wasserstein"
    coordinate: str = "samplers.*.steps"

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        lines = self._lines(results)
        if not lines:
            raise PluginError(
                f"error_against_steps draws the metric {self.metric} over a sweep of "
                f"{self.coordinate}; one of them is missing"
            )
        looks = style.looks(results)
        figure, axes = style.panels(1, 1, 5.6, 3.9, extra=0.6)
        ax = axes[0, 0]
        floors: dict[float, float] = {}
        used: dict[str, int] = {}
        for (key, rest), points in lines.items():
            points = sorted(points)
            values = np.array(points)
            look = looks[key]
            line = ("-", "--", "-.", ":")[used.setdefault(key, 0) % 4]
            used[key] += 1
            label = ", ".join(part for part in (style.sampler_label(key), rest) if part)
            order = slope(values)
            if order is not None:
                label += f": slope {order:.2f}"
            error = np.abs(values[:, 2:4].T - values[:, 1])
            ax.errorbar(
                values[:, 0],
                values[:, 1],
                error,
                color=look.color,
                linestyle=line,
                marker="o",
                markersize=4,
                capsize=2,
                label=label,
            )
            for point in points:
                if point.floor > 0:
                    floors[point.step] = max(floors.get(point.step, 0.0), point.floor)
        if floors:
            top = [floors[step] for step in sorted(floors)]
            ax.plot(
                sorted(floors), top, color=style.GREY, linestyle=":", label="95 % of exact draws"
            )
        ax.set(xscale="log", yscale="log", ylabel=style.METRICS.get(self.metric, self.metric))
        ax.set_xlabel(style.axis_label(self.coordinate))
        ax.set_ylim(bottom=0.4 * min(p.value for points in lines.values() for p in points))
        steps = sorted({p.step for points in lines.values() for p in points})
        if len(steps) <= 10:
            ax.set_xticks(steps, [f"{step:g}" for step in steps])
            ax.minorticks_off()
        ax.grid(True, which="major", color=style.LIGHT, linewidth=0.6)
        style.legend_above(figure, axes)
        name = style.stem(self.metric, "against", self.coordinate.rpartition(".")[2])
        what = self.metric.replace("_", " ")
        caption = (
            f"{what} against {style.axis_label(self.coordinate).replace('$', '')}, with intervals: "
            f"{_in_words(lines)}."
        )
        alt = f"Lines on logarithmic axes, one for every sampler: {_in_words(lines)}."
        yield Picture(name, figure, caption[0].upper() + caption[1:], alt)

    def _lines(self, results: Sequence[Result]) -> dict[tuple[str, str], list[Point]]:
        """The points of every line by sampler and the rest of the sweep point."""
        lines: dict[tuple[str, str], list[Point]] = {}
        for result in results:
            path = self._path(result)
            value, low, high = bounds(result.measured.get(self.metric, NOTHING))
            if path is None or not value > 0:
                continue
            rest = {k: v for k, v in result.point.items() if not fnmatchcase(k, self.coordinate)}
            floor = float(result.measured.get(f"{self.metric}_null_high", 0.0))
            low, high = (value if np.isnan(end) else end for end in (low, high))
            point = Point(float(result.point[path]), value, max(low, 1e-3 * value), high, floor)
            lines.setdefault((result.key, style.title_of(rest)), []).append(point)
        return {key: points for key, points in lines.items() if len(points) > 1}

    def _path(self, result: Result) -> str | None:
        """The swept coordinate that belongs to the sampler of a result."""
        for path, value in result.point.items():
            parts = path.split(".")
            others = parts[0] == "samplers" and len(parts) > 1 and parts[1] != result.key
            number = isinstance(value, int | float) and value > 0
            if fnmatchcase(path, self.coordinate) and number and not others:
                return path
        return None


def _in_words(lines: Mapping[tuple[str, str], Sequence[Point]]) -> str:
    """First and last point of every line, and its slope."""
    said = []
    for (key, rest), points in lines.items():
        first, last = min(points), max(points)
        label = ", ".join(part for part in (style.sampler_label(key), rest) if part)
        order = slope(np.array(sorted(points)))
        steep = "" if order is None else f", slope {order:.2f}"
        ends = f"{first.value:.3g} at {first.step:g} to {last.value:.3g} at {last.step:g}"
        said.append(f"{label.replace('$', '')} from {ends}{steep}")
    return "; ".join(said)


def slope(points: np.ndarray) -> float | None:
    """Least-squares slope of log value over log step, of points above the floor.

    Args:
        points: rows as in `Point`.

    Returns:
        None if fewer than two points with different steps are above the floor.
    """
    above = points[points[:, 1] > points[:, 4]]
    if len(np.unique(above[:, 0])) < 2:
        return None
    return float(np.polyfit(np.log(above[:, 0]), np.log(above[:, 1]), 1)[0])
