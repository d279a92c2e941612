"""Collapse of a posterior onto training examples, against bandwidth and against noise level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

QUANTITIES = {
    "effective_number": "effective number $e^H$",
    "best_mass": "mass on the best",
    "atom_distance": "distance to nearest\n(neighbour distances)",
}
SCALES = {"prior.bandwidth": "separation_bandwidth"}
"""Metric that predicts where components separate, for a coordinate; others are noise levels."""
FEWEST = 3
"""Points of a curve."""


class Curve(NamedTuple):
    """Values of one coordinate, the results there, and what the others are."""

    values: list[float]
    results: list[Result]
    label: str


class CollapseCurves(Figure):
    """Effective number of examples, mass on the best, and distance to the nearest.

    One figure a sampler; a column for every swept scale, a curve for every setting of the others
    that has three values of the scale or more. Dotted lines in the colour of a curve mark the scale
    at which components are predicted to separate. Crosses mark where the metric ``linearisation``
    finds more than ``tolerance`` nats. Needs the metric ``collapse``.
    """

    coordinates: tuple[str, ...] = Field(
        ("prior.bandwidth", "noise.relative_to_max", "noise.std"), min_length=1
    )
    tolerance: float = Field(1.0, gt=0, description="nats")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        measured = [r for r in results if "effective_number" in r.measured]
        drawn = False
        for key in dict.fromkeys(result.key for result in measured):
            own = [result for result in measured if result.key == key]
            columns = {c: found for c in self.coordinates if (found := _curves(own, c))}
            if columns:
                drawn = True
                said = _in_words(columns)
                caption = (
                    f"{style.sampler_label(key)}: effective number of examples, mass on the best "
                    "and distance to the nearest; dotted where components are predicted to "
                    f"separate. {said}."
                )
                alt = f"Three rows of curves on a logarithmic scale. {said}."
                figure, name = self._figure(key, columns), style.stem("collapse_curves", key)
                yield Picture(name, figure, caption, alt)
        if not drawn:
            raise PluginError(
                "collapse_curves draws the metric collapse over a sweep of "
                f"{' or '.join(self.coordinates)}; one of them is missing"
            )

    def _figure(self, key: str, columns: dict[str, list[Curve]]) -> Canvas:
        figure, axes = style.panels(
            len(QUANTITIES), len(columns), 3.9, 2.2, extra=0.5, sharex="col", sharey="row"
        )
        for j, (coordinate, curves) in enumerate(columns.items()):
            colours = style.sequence(len(curves))
            for i, (metric, name) in enumerate(QUANTITIES.items()):
                ax = axes[i, j]
                for curve, colour in zip(curves, colours, strict=True):
                    self._curve(ax, curve, metric, coordinate, colour)
                ax.set_xscale("log")
                if metric == "best_mass":
                    ax.set_ylim(0, 1.05)
                else:
                    ax.set_yscale("log")
                ax.grid(True, which="major", color=style.LIGHT, linewidth=0.6)
                if j == 0:
                    ax.set_ylabel(name)
            axes[-1, j].set_xlabel(_label(coordinate))
            if len(curves) > 1:
                axes[0, j].legend(
                    facecolor="white", edgecolor="none", framealpha=0.9, fontsize="small"
                )
        shown = [r for curves in columns.values() for curve in curves for r in curve.results]
        axes[0, 0].set_ylim(
            0.9, 1.3 * max(2.0, *(float(r.measured["effective_number"]) for r in shown))
        )
        axes[0, 0].yaxis.set_major_formatter("{x:g}")
        figure.suptitle(style.sampler_label(key), fontsize="medium")
        return figure

    def _curve(self, ax: Axes, curve: Curve, metric: str, coordinate: str, colour: Any) -> None:
        pairs = [
            (x, r) for x, r in zip(curve.values, curve.results, strict=True) if metric in r.measured
        ]
        if not pairs:
            return
        x, y = [pair[0] for pair in pairs], [float(pair[1].measured[metric]) for pair in pairs]
        ax.plot(x, y, color=colour, marker=".", label=curve.label)
        bad = [
            k
            for k, (_, r) in enumerate(pairs)
            if not float(r.measured.get("linearisation_residual", 0.0)) <= self.tolerance
        ]
        ax.plot([x[k] for k in bad], [y[k] for k in bad], "x", color=style.VERMILLION, zorder=4)
        if (scale := _scale(curve, coordinate)) is not None:
            low, high = min(curve.values), max(curve.values)
            if low / 3 <= scale <= high * 3:
                ax.axvline(scale, color=colour, linestyle=":")


def _curves(results: Sequence[Result], coordinate: str) -> list[Curve]:
    """Curves over a coordinate, one for each setting of the others, of `FEWEST` points or more.

    They are called by what differs between them.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[Result]] = {}
    for result in results:
        if coordinate in result.point:
            rest = tuple((k, v) for k, v in result.point.items() if k != coordinate)
            groups.setdefault(rest, []).append(result)
    curves: dict[tuple[tuple[str, Any], ...], Curve] = {}
    for rest, members in groups.items():
        ordered = sorted(members, key=lambda r: float(r.point[coordinate]))
        values = [float(r.point[coordinate]) for r in ordered]
        if len(set(values)) >= FEWEST:
            curves[rest] = Curve(values, ordered, "")
    differing = [
        column[0][0] for column in zip(*curves, strict=True) if len(set(map(repr, column))) > 1
    ]
    return [
        curve._replace(label=style.title_of({k: v for k, v in rest if k in differing}))
        for rest, curve in curves.items()
    ]


def _in_words(columns: Mapping[str, Sequence[Curve]]) -> str:
    """The effective number at both ends of every curve."""
    said = []
    for coordinate, curves in columns.items():
        for curve in curves:
            ends = [
                f"{float(curve.results[i].measured['effective_number']):.3g} at "
                f"{curve.values[i]:.3g}"
                for i in (0, -1)
            ]
            label = f" ({curve.label.replace('$', '')})" if curve.label else ""
            name = _label(coordinate).replace("$", "")
            said.append(f"effective number over {name}{label} {' to '.join(ends)}")
    return "; ".join(said).capitalize()


def _scale(curve: Curve, coordinate: str) -> float | None:
    """The predicted scale in units of the coordinate; that of the middle of the curve."""
    middle = curve.results[len(curve.results) // 2]
    found = middle.measured.get(SCALES.get(coordinate, "separation_noise"))
    if found is None or coordinate != "noise.relative_to_max":
        return None if found is None else float(found)
    std = middle.problem.gaussian("collapse_curves").std
    return float(found) / std * float(middle.point[coordinate])


def _label(coordinate: str) -> str:
    if coordinate == "noise.relative_to_max":
        return "noise std over the largest datum"
    return style.axis_label(coordinate)
