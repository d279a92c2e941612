"""Marginals of some coordinates: the density of a mixture against draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field, NonNegativeInt

from mempost.core.capabilities import HasMarginals, Marginal, ask
from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import densities, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class Marginals(Figure):
    """Marginal densities of a mixture posterior, its credible intervals, and draws of all samplers.

    One figure for every point of the sweep; columns are coordinates, rows are samplers. The black
    curve is the mixture of the sampler ``reference`` in every row, or else the sampler's own; where
    a sampler has a mixture of its own, that is drawn in the sampler's colour. Between the ends of
    the credible interval of the black curve the ground is grey.
    """

    reference: str | None = Field(
        None, description="a sampler with a linearised mixture; null: the first of the spec"
    )
    coordinates: tuple[NonNegativeInt, ...] = Field(
        (0, 1, 10, 55), min_length=1, max_length=6, description="from 0; those that are there"
    )
    level: float = Field(0.95, gt=0, lt=1, description="of the credible interval")
    bins: int = Field(40, ge=2)
    panels: int = Field(6, ge=1, description="points of the sweep at most, evenly thinned")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        looks = style.looks(results)
        mixtures = [r for r in results if ask(r.posterior, HasMarginals) is not None]
        reference = self.reference or (mixtures[0].key if mixtures else None)
        if reference is None:
            raise PluginError("marginals takes a sampler such as exact_lgm, there is none here")
        d = results[0].problem.dimension
        chosen = [i for i in self.coordinates if i < d] or [0]
        groups = style.thinned(style.by_point(results), self.panels)
        for number, group in enumerate(groups):
            if reference in group:
                stem = style.stem("marginals", str(number) if len(groups) > 1 else "")
                drawn = self._figure(group, reference, chosen, looks)
                names = ", ".join(str(i + 1) for i in chosen)
                lines = ", ".join(style.named(result) for result in group.values())
                caption = (
                    f"Marginals of coordinates {names}: histograms of draws under the mixture of "
                    f"{style.sampler_label(reference)} in black, {self.level:.0%} interval grey."
                )
                alt = (
                    f"A grid of histograms under curves, columns coordinates {names}, rows {lines}."
                )
                yield Picture(stem, drawn, caption, alt)

    def _figure(
        self,
        group: dict[str, Result],
        reference: str,
        chosen: list[int],
        looks: dict[str, style.Look],
    ) -> Canvas:
        shown = list(group.values())
        exact = _marginals(group[reference], chosen)
        if exact is None:
            raise PluginError(
                f"marginals: the sampler {reference!r} has no marginals in closed form"
            )
        figure, axes = style.panels(
            len(shown), len(chosen), 2.6, 1.35, extra=0.9, sharex="col", sharey="none"
        )
        windows = [self._window(shown, exact[c], i) for c, i in enumerate(chosen)]
        for line, result in zip(axes, shown, strict=True):
            own = None if result.key == reference else _marginals(result, chosen)
            for c, (ax, i) in enumerate(zip(line, chosen, strict=True)):
                self._histogram(ax, result, i, windows[c], looks[result.key])
                self._curves(ax, exact[c], windows[c], style.Look(style.BLACK, "-"), reference)
                if own is not None:
                    self._curves(ax, own[c], windows[c], looks[result.key], "", interval=False)
                if result.truth is not None:
                    true = float(result.truth[i])
                    ax.axvline(true, color=style.VERMILLION, linestyle="--", label="truth")
                ax.set(xlim=windows[c], ylim=(0, _top(ax)), yticks=[])
                ax.spines["left"].set_visible(False)
            name = style.sampler_label(result.key).replace(" ", "\n")
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, i in zip(axes[-1], chosen, strict=True):
            ax.set_xlabel(style.state_label(shown[0], i))
        axes[0, 0].set_title(style.title_of(shown[0].point), fontsize="medium", loc="left")
        style.legend_above(figure, axes)
        return figure

    def _window(self, shown: list[Result], exact: Marginal, i: int) -> densities.Window:
        """Around the mixture, the truth and the bulk of all draws."""
        p = shown[0].samples.flat.new_tensor([0.001, 0.999])
        ends = [exact.quantile(p).cpu().numpy()]
        for result in shown:
            ends.append(np.quantile(result.samples.flat[:, i].cpu().numpy(), [0.005, 0.995]))
            if result.truth is not None:
                ends.append(np.full(2, float(result.truth[i])))
        low, high = float(np.min(ends)), float(np.max(ends))
        margin = 0.08 * (high - low) or 1.0
        return low - margin, high + margin

    def _histogram(
        self, ax: Axes, result: Result, i: int, window: densities.Window, look: style.Look
    ) -> None:
        values = result.samples.flat[:, i].cpu().numpy()
        heights, edges = style.histogram(values, window, self.bins)
        ax.stairs(heights, edges, fill=True, color=look.color, alpha=0.45, label="draws")

    def _curves(
        self,
        ax: Axes,
        marginal: Marginal,
        window: densities.Window,
        look: style.Look,
        name: str,
        interval: bool = True,
    ) -> None:
        if marginal.atomic:
            return
        x = torch.linspace(*window, 600, dtype=torch.float64)
        if interval:
            p = x.new_tensor([(1 - self.level) / 2, (1 + self.level) / 2])
            low, high = marginal.quantile(p).tolist()
            ax.axvspan(
                low,
                high,
                color=style.LIGHT,
                alpha=0.6,
                zorder=0,
                label=f"{self.level:.0%} interval",
            )
        label = f"mixture of {style.sampler_label(name)}" if name else "the row's own mixture"
        density = marginal.density(x).cpu().numpy()
        ax.plot(x.cpu().numpy(), density, color=look.color, linewidth=1.1, label=label)


def _top(ax: Axes) -> float | None:
    """Twice the height of the curves, so that atoms do not flatten them; None without curves."""
    curves = [np.asarray(line.get_ydata()) for line in ax.lines]
    heights = [float(curve.max()) for curve in curves if len(curve) > 2]
    return 2 * max(heights) if heights else None


def _marginals(result: Result, chosen: list[int]) -> Sequence[Marginal] | None:
    posterior = ask(result.posterior, HasMarginals)
    return None if posterior is None else posterior.marginals(chosen)
