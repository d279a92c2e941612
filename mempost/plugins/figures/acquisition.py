"""The true velocity with sources and receivers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style, waves


class Acquisition(Figure):
    """The true velocity (km/s) of a wave problem, with its sources and receivers."""

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        operator, m = waves.physics(results[0], "acquisition")
        v = m[0].rsqrt()
        figure = style.canvas(4.2, 3.6)
        ax = figure.subplots()
        limits = (float(v.min()), float(v.max()))
        shown = waves.image(ax, operator, v, "viridis", limits)
        waves.positions(ax, operator)
        figure.colorbar(shown, ax=ax, label="velocity (km/s)", shrink=0.85)
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
        low, high = limits
        count = f"{len(operator.sources)} sources and {len(operator.receivers)} receivers"
        caption = f"True velocity, {low:.3g} to {high:.3g} km/s, with {count}."
        alt = f"Map of velocity over x and z in km, {count} marked as stars and triangles."
        yield Picture("acquisition", figure, caption, alt)
