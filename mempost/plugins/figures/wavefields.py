"""Real parts of wavefields in the true model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style, waves


class Wavefields(Figure):
    """The real part of the pressure in the true model, by source and frequency."""

    sources: int = Field(3, ge=1, description="sources shown, evenly thinned")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        operator, m = waves.physics(results[0], "wavefields")
        count = min(self.sources, len(operator.sources))
        chosen = np.unique(np.linspace(0, len(operator.sources) - 1, count).round().astype(int))
        figure, axes = style.panels(
            len(operator.frequencies), len(chosen), 2.7, 2.7, sharex="all", sharey="all"
        )
        for line, frequency in zip(axes, operator.frequencies, strict=True):
            fields = operator.grid.interior(operator.wavefields(m, frequency))[0].real
            limits = waves.signed_limits(fields)
            for ax, k in zip(line, chosen, strict=True):
                shown = waves.image(ax, operator, fields[k], "RdBu_r", limits)
                waves.positions(ax, operator, marked=(int(k), 0))
                ax.lines[-1].remove()  # the receiver of the pair
                ax.set_title(f"source {k + 1}, {frequency:g} Hz", fontsize="medium")
                ax.label_outer()
            figure.colorbar(shown, ax=list(line), label="Re u", shrink=0.85)
        shown_sources = ", ".join(str(k + 1) for k in chosen)
        hertz = ", ".join(f"{frequency:g}" for frequency in operator.frequencies)
        which = f"sources {shown_sources} at {hertz} Hz"
        caption = f"Real part of the pressure in the true model, {which}."
        alt = f"Maps of waves that spread from a marked source and bend in the model: {which}."
        yield Picture("wavefields", figure, caption, alt)
