"""Weights of the training examples along single paths, against the noise level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

SEEN = 0.05
"""Examples whose weight never exceeds this are not drawn in colour."""


class PathWeightsFigure(Figure):
    """Weights of examples along the first paths of one sampler, a panel a path.

    Needs the metric ``path_weights``. Examples that ever have a weight above 0.05 are named by
    their numbers, up to seven of them; the others are grey.
    """

    sampler: str | None = Field(None, description="its key; null: the first that has weights")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        found = style.with_measured(results, "path_weight", "path_weights", "path_weights")
        named = [r for r in found if self.sampler in (None, r.key)] or found
        result = named[0]
        weights = result.measured["path_weight"]
        sigma, numbers = weights["sigma"].values, weights["point"].values
        rows, columns = style.grid_of(len(weights), 2)
        figure, axes = style.panels(rows, columns, 3.4, 2.5, sharex="all", sharey="all")
        said = []
        for k, (ax, w) in enumerate(zip(axes.flat, weights.values)):
            largest = w.max(0)
            coloured = [int(i) for i in (-largest).argsort()[:7] if largest[i] > SEEN]
            for i in range(len(numbers)):
                if i not in coloured:
                    ax.plot(sigma, w[:, i], color=style.LIGHT, linewidth=0.6, zorder=1)
            palette = (*style.COLOURS, style.BLACK)
            for place, i in enumerate(coloured):
                line = style.LINES[place % len(style.LINES)]
                ax.plot(sigma, w[:, i], line, color=palette[place], label=f"{numbers[i]}")
            ax.set(xscale="log", ylim=(-0.03, 1.03))
            ax.set_title(f"path {k + 1}", fontsize="small")
            ax.legend(frameon=False, fontsize="x-small", title="example", title_fontsize="x-small")
            said.append(f"path {k + 1} ends on example {numbers[int(w[-1].argmax())]}")
        for ax in axes[-1]:
            ax.set_xlabel(r"noise level $\sigma$")
        for ax in axes[:, 0]:
            ax.set_ylabel("weight")
            ax.minorticks_off()
        axes[0, 0].set_xlim(sigma[0], max(sigma[-1], _settled(sigma, weights.values) / 10))
        decided = float(result.measured["decided"].sel(quantile=0.5))
        caption = (
            f"Weights of the training examples along paths of {style.named(result)}: "
            f"{'; '.join(said)}. Half of all paths have decided by s = -log sigma = {decided:.3g}."
        )
        alt = (
            f"{len(weights)} panels of curves over a falling noise level: at first all are small, "
            f"then one rises to 1. {'; '.join(said).capitalize()}."
        )
        yield Picture("path_weights", figure, caption, alt)


def _settled(sigma: np.ndarray, weights: np.ndarray) -> float:
    """The highest level from which on all weights (path, level, point) are near 0 or 1."""
    open_ = (weights.max(-1) < 1 - 1e-3).any(0)
    return float(sigma[int(np.nonzero(open_)[0][-1])]) if open_.any() else float(sigma[0])
