"""Share of draws that end on training examples against a swept coordinate, with the law."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.measured import bounds
from mempost.core.result import Result
from mempost.methods.drawing import style


class LimitFractions(Figure):
    """The share on examples against a coordinate of the sweep, a curve for every sampler.

    Needs the metric ``limit_point`` over a sweep of the coordinate. Bars are binomial intervals;
    the black line is the law where the prior knows it.
    """

    coordinate: str = Field("prior.c", description="path of the sweep", examples=["prior.c"])

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        found = style.with_measured(results, "on_point", "limit_fractions", "limit_point")
        found = [r for r in found if self.coordinate in r.point]
        if not found:
            raise PluginError(f"limit_fractions draws a sweep of {self.coordinate}; there is none")
        figure, axes = style.panels(1, 1, 5.2, 3.8)
        ax, looks, said = axes[0, 0], style.looks(found), []
        for key, look in looks.items():
            own = sorted(
                (r for r in found if r.key == key), key=lambda r: float(r.point[self.coordinate])
            )
            x = np.array([float(r.point[self.coordinate]) for r in own])
            y, low, high = np.array([bounds(r.measured["on_point"]) for r in own]).T
            label = style.sampler_label(key)
            ax.errorbar(
                x, y, [y - low, high - y], fmt="o", ms=4, capsize=2, color=look.color, label=label
            )
            said.append(f"{label} from {y[0]:.3g} at {x[0]:.3g} to {y[-1]:.3g} at {x[-1]:.3g}")
        laws = {
            float(r.point[self.coordinate]): float(r.measured["on_point_law"])
            for r in found
            if "on_point_law" in r.measured
        }
        if laws:
            ax.plot(*np.array(sorted(laws.items())).T, color=style.BLACK, zorder=1, label="law")
        ax.set(xscale="log", ylim=(-0.03, 1.03), ylabel="share on a training example")
        ax.set_xlabel(style.axis_label(self.coordinate))
        ax.grid(True, which="major", color=style.LIGHT, linewidth=0.6)
        ax.legend(frameon=False, fontsize="small")
        name = style.axis_label(self.coordinate).replace("$", "")
        law = " The black line is the law of the flow's ends." if laws else ""
        caption = (
            f"Share of draws that end on a training example against {name}, with binomial "
            f"intervals: {'; '.join(said)}.{law}"
        )
        alt = f"Points with bars over a logarithmic axis: {'; '.join(said)}."
        yield Picture("limit_fractions", figure, caption, alt)
