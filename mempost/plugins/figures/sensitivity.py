"""The sensitivity of one datum to the model: a row of the Jacobian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style, waves


class Sensitivity(Figure):
    """d Re d / dm for one source and receiver of a wave problem, at the true model.

    Nodes at the edge stand for the absorbing layer behind them too.
    """

    source: int | None = Field(None, ge=0, description="index; the middle one if not given")
    receiver: int | None = Field(None, ge=0, description="index; the middle one if not given")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        operator, m = waves.physics(results[0], "sensitivity")
        pair = (
            _index("source", self.source, len(operator.sources)),
            _index("receiver", self.receiver, len(operator.receivers)),
        )
        figure, axes = style.panels(1, len(operator.frequencies), 3.6, 3.3, sharey="all")
        for k, (ax, frequency) in enumerate(zip(axes[0], operator.frequencies, strict=True)):
            one = torch.zeros((1, *operator.range_shape(operator.shape)))
            one = one.to(m.device, m.dtype.to_complex())
            one[0, k, *pair] = 1
            kernel = operator.vjp(m, one)[1][0] / operator.spacing**2
            shown = waves.image(ax, operator, kernel, "RdBu_r", waves.signed_limits(kernel))
            waves.positions(ax, operator, pair)
            ax.set_title(f"{frequency:g} Hz", fontsize="medium")
            figure.colorbar(
                shown, ax=ax, label=r"$\partial$ Re $d$ / $\partial m$ per km$^2$", shrink=0.85
            )
        hertz = ", ".join(f"{frequency:g}" for frequency in operator.frequencies)
        which = f"source {pair[0] + 1} and receiver {pair[1] + 1} at {hertz} Hz"
        caption = (
            f"How the real part of the datum of {which} changes with the squared slowness, per "
            "area, at the true model."
        )
        alt = f"Maps with positive and negative bands between {which}."
        yield Picture("sensitivity", figure, caption, alt)


def _index(name: str, given: int | None, count: int) -> int:
    if given is not None and given >= count:
        raise PluginError(f"sensitivity.{name} is {given}; allowed are 0 to {count - 1}")
    return count // 2 if given is None else given
