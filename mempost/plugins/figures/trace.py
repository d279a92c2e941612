"""Traces and autocorrelations of Markov chains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, NonNegativeInt

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.plugins.figures import style
from mempost.plugins.metrics import diagnostics

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class Trace(Figure):
    """Traces and autocorrelation of the Markov chain samplers, with ESS and R-hat.

    One figure a point of the sweep, one row a sampler. Samplers with a single chain, or fewer than
    four draws a chain, are left out. ESS and R-hat are those of the coordinate shown, over all
    chains.
    """

    coordinate: NonNegativeInt = 0
    chains: int = Field(4, ge=1, description="traces shown, from the first")
    lags: int = Field(50, ge=1, description="shown at most")
    points: int = Field(4, ge=1, description="figures at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        if self.coordinate >= (d := results[0].problem.dimension):
            raise PluginError(f"trace: coordinate is {self.coordinate}; allowed are 0 to {d - 1}")
        looks = style.looks(results)
        moving = [result for result in results if _is_chain(result)]
        if not moving:
            raise PluginError("trace draws Markov chains, and no sampler has several of them")
        groups = style.thinned(style.by_point(moving), self.points)
        for number, group in enumerate(groups):
            name = "trace" if len(groups) == 1 else f"trace_{number}"
            figure = self._figure(list(group.values()), looks)
            yield Picture(name, figure, self.summary(), self.summary())

    def _figure(self, results: list[Result], looks: dict[str, style.Look]) -> Canvas:
        figure = style.canvas(8.0, 1.9 * len(results) + 0.6)
        axes = figure.subplots(len(results), 2, squeeze=False, width_ratios=[2.2, 1])
        for (left, right), result in zip(axes, results, strict=True):
            x = result.samples.values[..., self.coordinate].double().cpu()
            shades = style.shades(looks[result.key].color, min(self.chains, len(x)))
            for chain, shade in zip(x, shades):
                left.plot(chain.numpy(), color=shade, linewidth=0.7)
            ess, r_hat = diagnostics.ess_bulk(x), diagnostics.r_hat(x)
            left.set_title(
                f"{style.sampler_label(result.key)}: ESS {ess:.0f} of {x.numel()}, "
                rf"$\hat{{R}}$ = {r_hat:.3f}",
                fontsize="medium",
                loc="left",
            )
            left.set_ylabel(style.state_label(result, self.coordinate))
            left.set_xlim(0, x.shape[1] - 1)
            lags = min(self.lags, x.shape[1] - 1)
            rho = diagnostics.autocorrelation(x)[: lags + 1].numpy()
            right.vlines(np.arange(lags + 1), 0, rho, color=looks[result.key].color)
            right.axhline(0, color=style.BLACK, linewidth=0.8)
            right.set(ylabel="autocorrelation", ylim=(min(-0.1, float(rho.min())), 1.05))
            for ax in (left, right):
                ax.spines[["top", "right"]].set_visible(False)
        axes[-1, 0].set_xlabel("draw")
        axes[-1, 1].set_xlabel("lag in draws")
        if title := style.title_of(results[0].point):
            figure.suptitle(title, fontsize="medium")
        return figure


def _is_chain(result: Result) -> bool:
    chains, draws = result.samples.values.shape[:2]
    return chains > 1 and draws >= 4
