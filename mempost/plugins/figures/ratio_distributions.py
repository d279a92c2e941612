"""How the nearest-neighbour ratios of draws lie against those of fresh examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RatioDistributions(Figure):
    """Share of draws with r below a value, beside held-out and left-out training examples.

    A panel for every point of the sweep. r = d_1 / mean(d_2, ..., d_k); where a sampler's curve
    crosses the dotted threshold is its rate, where the black one does is the rate of examples that
    no prior has seen. Draws are memorized as far as their curve lies left of the black one. Needs
    the metric ``nearest_neighbour`` in the same coordinates, which has k and the threshold.
    """

    coordinates: Literal["raw", "prior"] = Field(
        "raw", description="raw: those of the training data; prior: standardised if the prior is"
    )
    points: int = Field(6, ge=1, description="panels at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        asked = "" if self.coordinates == "raw" else ", coordinates: prior"
        metric = f"nearest_neighbour{asked}"
        usable = style.with_measured(results, self._name("ratio"), "ratio_distributions", metric)
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
        name = style.stem("ratio_distributions", suffix)
        shown = [result for group in groups for result in group.values()]
        yield Picture(name, figure, self._caption(shown), self._alt(shown))

    def _name(self, quantity: str) -> str:
        return f"nn_{quantity}" if self.coordinates == "raw" else f"nn_prior_{quantity}"

    def _panel(self, ax: Axes, group: dict[str, Result], looks: dict[str, style.Look]) -> None:
        first = next(iter(group.values()))
        controls = {
            "ratio_leave_one_out": ("left-out training", style.Look(style.GREY, "-")),
            "ratio_held_out": ("held out", style.Look(style.BLACK, "-")),
        }
        for quantity, (label, look) in controls.items():
            if self._name(quantity) in first.measured:
                _steps(ax, first.measured[self._name(quantity)].values, look, label)
        for key, result in group.items():
            found = result.measured[self._name("ratio")].values
            _steps(ax, found, looks[key], style.sampler_label(key))
        threshold = float(first.measured[self._name("threshold")])
        ax.axvline(threshold, color=style.BLACK, linestyle=":", linewidth=0.8)
        ax.set(xlim=(0, 1), ylim=(0, 1.02))
        ax.set_title(style.title_of(first.point), fontsize="medium")

    def _caption(self, results: Sequence[Result]) -> str:
        said = []
        for r in results:
            control = r.measured.get(self._name("rate_held_out"))
            beside = "" if control is None else f" against {style.in_words(control)} held out"
            said.append(
                f"{style.named(r)}: {style.in_words(r.measured[self._name('rate')])}{beside}"
            )
        threshold = float(results[0].measured[self._name("threshold")])
        return (
            "Share of draws whose ratio r of the nearest distance to the mean of the next ones is "
            "below a value, beside that of held-out (black) and left-out (grey) examples. Below "
            f"the threshold {threshold:g}: {'; '.join(said)}."
        )

    def _alt(self, results: Sequence[Result]) -> str:
        name = self._name("ratio_median")
        said = [f"{style.named(r)}: {style.in_words(r.measured[name])}" for r in results]
        return (
            "Rising step curves from 0 to 1 over r, a panel for every point of the sweep. Medians "
            f"of r: {'; '.join(said)}."
        )


def _steps(ax: Axes, values: np.ndarray, look: style.Look, label: str) -> None:
    """An empirical distribution function."""
    ordered = np.sort(values)
    height = np.arange(len(ordered) + 1) / len(ordered)
    at = np.concatenate([[0.0], ordered, [1.0]])
    ax.step(at, np.append(height, 1.0), where="post", **look._asdict(), linewidth=1.3, label=label)
