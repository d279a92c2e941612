"""Positions of samplers between two references against a swept coordinate, and their misfits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.measured import bounds
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "position": ("position", "position (0 first, 1 second)"),
    "position_within": ("position within components", "position within components"),
    "misfit": ("misfit", "squared misfit per datum"),
}


class BetweenReferencesFigure(Figure):
    """Position between two references and misfit against a coordinate, a curve for every sampler.

    Needs the metric ``between_references`` over a sweep of the coordinate; misfits are drawn where
    the metric ``misfit`` has measured them. A row for every setting of the other coordinates.
    """

    coordinate: str = Field(
        "prior.c", description="path of the sweep", examples=["prior.bandwidth"]
    )

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        found = style.with_measured(results, "position", "between_references", "between_references")
        found = [r for r in found if self.coordinate in r.point]
        if not found:
            raise PluginError(
                f"between_references draws a sweep of {self.coordinate}; there is none"
            )
        settings = list(dict.fromkeys(map(self._setting, found)))
        shown = [name for name in PANELS if any(name in r.measured for r in found)]
        figure, axes = style.panels(
            len(settings), len(shown), 3.6, 2.9, extra=0.6, sharex="all", sharey="col"
        )
        looks, said = style.looks(results), []
        for row, setting in zip(axes, settings):
            own = [r for r in found if self._setting(r) == setting]
            for ax, name in zip(row, shown):
                said += self._curves(ax, own, name, looks)
                ax.set_ylabel(PANELS[name][1], fontsize="small")
                ax.set_title(setting, fontsize="small")
        for ax, name in zip(axes[0], shown):
            if name.startswith("position"):
                ax.set_ylim(0, 1)
            else:
                ax.set_yscale("log")
        for ax in axes[-1]:
            ax.set_xlabel(style.axis_label(self.coordinate))
        style.legend_above(figure, axes)
        label = style.axis_label(self.coordinate).replace("$", "")
        caption = (
            "Position of samplers between two references (0: the first, 1: the second), and "
            f"squared misfit per datum, against {label}: {'; '.join(said)}."
        )
        alt = f"Curves over a logarithmic axis, one for every sampler: {'; '.join(said)}."
        yield Picture("between_references", figure, caption, alt)

    def _setting(self, result: Result) -> str:
        """The other coordinates of the sweep in words, but for those that go along."""
        rest = {k: v for k, v in result.point.items() if isinstance(v, str)}
        return style.title_of(rest)

    def _curves(
        self, ax: Axes, results: Sequence[Result], name: str, looks: dict[str, style.Look]
    ) -> list[str]:
        said = []
        for key, look in looks.items():
            own = sorted(
                (r for r in results if r.key == key and name in r.measured),
                key=lambda r: float(r.point[self.coordinate]),
            )
            if not own:
                continue
            x = np.array([float(r.point[self.coordinate]) for r in own])
            y, low, high = np.array([bounds(r.measured[name]) for r in own]).T
            label = style.sampler_label(key)
            ax.errorbar(
                x,
                y,
                [np.nan_to_num(np.maximum(y - low, 0)), np.nan_to_num(np.maximum(high - y, 0))],
                fmt="o",
                ms=3.5,
                capsize=2,
                color=look.color,
                linestyle=look.linestyle,
                label=label,
            )
            said.append(f"{PANELS[name][0]} of {label} {y[0]:.3g} to {y[-1]:.3g}")
        ax.set_xscale("log")
        ax.grid(True, which="major", color=style.LIGHT, linewidth=0.6)
        return said
