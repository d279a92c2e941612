"""How the nearest-neighbour ratios of draws lie against those of fresh examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.plugins.figures import style
from mempost.plugins.metrics.coordinates import CoordinateSystem, in_coordinates
from mempost.plugins.metrics.nearest_neighbour import NearestNeighbour, nearest
from mempost.plugins.metrics.thinning import thin_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RatioDistributions(Figure):
    """Share of draws with r below a value, beside held-out and left-out training examples.

    A panel for every point of the sweep. r = d_1 / mean(d_2, ..., d_k); where a sampler's curve
    crosses the dotted threshold is its rate, where the black one does is the rate of examples that
    no prior has seen. Draws are memorized as far as their curve lies left of the black one.
    """

    k: int = Field(50, ge=2, description="neighbours in r, at most N")
    threshold: float = Field(0.7, gt=0, description="marked")
    coordinates: CoordinateSystem = "raw"
    controls: int = Field(2000, ge=1, description="control queries at most, evenly thinned")
    points: int = Field(6, ge=1, description="panels at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        usable = [r for r in results if r.data is not None and len(r.data.train) > 2]
        if not usable:
            raise PluginError("ratio_distributions takes three training examples or more")
        groups = style.thinned(style.by_point(usable), self.points)
        looks = style.looks(results)
        rows, columns = style.grid_of(len(groups), 3)
        width = 6.0 if columns == 1 else 3.3
        figure, axes = style.panels(
            rows, columns, width, 2.8, extra=0.7, sharex="all", sharey="all"
        )
        for ax, group in zip(axes.flat, groups):
            self._panel(ax, group, looks)
        for ax in axes.flat[len(groups) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel("share below")
        for ax in axes[-1]:
            ax.set_xlabel(r"$r = d_1\,/\,\overline{d}_{2..k}$")
        style.legend_above(figure, axes)
        suffix = "" if self.coordinates == "raw" else self.coordinates
        yield Picture(
            style.stem("ratio_distributions", suffix), figure, self.summary(), self.summary()
        )

    def _panel(self, ax: Axes, group: dict[str, Result], looks: dict[str, style.Look]) -> None:
        first = next(iter(group.values()))
        assert first.data is not None
        train = self._placed(first.data.train.flatten(1), first)
        held_out = thin_rows(self._placed(first.data.held_out.flatten(1), first), self.controls)
        left_out = nearest(thin_rows(train, self.controls), train, self.k + 1)[:, 1:]
        _steps(ax, self._ratios(left_out), style.Look(style.GREY, "-"), "left-out training")
        if len(held_out):
            found = self._ratios(nearest(held_out, train, self.k))
            _steps(ax, found, style.Look(style.BLACK, "-"), "held out")
        for key, result in group.items():
            x = self._placed(result.samples.flat, result)
            found = self._ratios(nearest(x, train, self.k))
            _steps(ax, found, looks[key], style.sampler_label(key))
        ax.axvline(self.threshold, color=style.BLACK, linestyle=":", linewidth=0.8)
        ax.set(xlim=(0, 1), ylim=(0, 1.02))
        ax.set_title(style.title_of(first.point), fontsize="medium")

    def _placed(self, x: Tensor, result: Result) -> Tensor:
        return in_coordinates(x, self.coordinates, result)

    def _ratios(self, distances: Tensor) -> np.ndarray:
        rule = NearestNeighbour(k=self.k, threshold=self.threshold)
        return rule.measure(distances)["ratio_mean"].cpu().numpy()


def _steps(ax: Axes, values: np.ndarray, look: style.Look, label: str) -> None:
    """An empirical distribution function."""
    ordered = np.sort(values)
    height = np.arange(len(ordered) + 1) / len(ordered)
    at = np.concatenate([[0.0], ordered, [1.0]])
    ax.step(at, np.append(height, 1.0), where="post", **look._asdict(), linewidth=1.3, label=label)
