"""Traces and autocorrelations of Markov chains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, NonNegativeInt

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class Trace(Figure):
    """Traces and autocorrelation of the Markov chain samplers, with ESS and R-hat.

    One figure a point of the sweep, one row a sampler. ESS, R-hat and autocorrelation are those of
    the coordinate shown, over all chains. Needs the metric ``mcmc``, which leaves out samplers with
    a single chain or fewer than four draws a chain.
    """

    coordinate: NonNegativeInt = 0
    chains: int = Field(4, ge=1, description="traces shown, from the first")
    lags: int = Field(50, ge=1, description="shown at most")
    points: int = Field(4, ge=1, description="figures at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        if self.coordinate >= (d := results[0].problem.dimension):
            raise PluginError(f"trace: coordinate is {self.coordinate}; allowed are 0 to {d - 1}")
        looks = style.looks(results)
        moving = style.with_measured(results, "autocorrelation", "trace", "mcmc")
        groups = style.thinned(style.by_point(moving), self.points)
        for number, group in enumerate(groups):
            name = "trace" if len(groups) == 1 else f"trace_{number}"
            rows = list(group.values())
            yield Picture(name, self._figure(rows, looks), self._caption(rows), self._alt(rows))

    def _figure(self, results: list[Result], looks: dict[str, style.Look]) -> Canvas:
        figure = style.canvas(8.0, 1.9 * len(results) + 0.6)
        axes = figure.subplots(len(results), 2, squeeze=False, width_ratios=[2.2, 1])
        for (left, right), result in zip(axes, results, strict=True):
            x = result.samples.values[..., self.coordinate].double().cpu()
            shades = style.shades(looks[result.key].color, min(self.chains, len(x)))
            for chain, shade in zip(x, shades):
                left.plot(chain.numpy(), color=shade, linewidth=0.7)
            left.set_title(
                f"{style.sampler_label(result.key)}: ESS {self._of(result, 'ess_bulk_of'):.0f} of "
                rf"{x.numel()}, $\hat{{R}}$ = {self._of(result, 'r_hat_of'):.3f}",
                fontsize="medium",
                loc="left",
            )
            left.set_ylabel(style.state_label(result, self.coordinate))
            left.set_xlim(0, x.shape[1] - 1)
            rho = result.measured["autocorrelation"].values[self.coordinate, : self.lags + 1]
            right.vlines(np.arange(len(rho)), 0, rho, color=looks[result.key].color)
            right.axhline(0, color=style.BLACK, linewidth=0.8)
            right.set(ylabel="autocorrelation", ylim=(min(-0.1, float(rho.min())), 1.05))
            for ax in (left, right):
                ax.spines[["top", "right"]].set_visible(False)
        axes[-1, 0].set_xlabel("draw")
        axes[-1, 1].set_xlabel("lag in draws")
        if title := style.title_of(results[0].point):
            figure.suptitle(title, fontsize="medium")
        return figure

    def _of(self, result: Result, variable: str) -> float:
        """What was measured of the coordinate."""
        return float(result.measured[variable][self.coordinate])

    def _caption(self, results: Sequence[Result]) -> str:
        said = [
            f"{style.named(r)} ESS {self._of(r, 'ess_bulk_of'):.0f}, "
            f"R-hat {self._of(r, 'r_hat_of'):.3f} (of the worst coordinate "
            f"{float(r.measured['ess_bulk']):.0f} and {float(r.measured['r_hat']):.3f})"
            for r in results
            if "ess_bulk" in r.measured and "r_hat" in r.measured
        ]
        return (
            f"Traces of at most {self.chains} chains and the autocorrelation over all of them, "
            f"coordinate {self.coordinate + 1}: {'; '.join(said)}."
        )

    def _alt(self, results: Sequence[Result]) -> str:
        said = []
        for r in results:
            rho = r.measured["autocorrelation"].values[self.coordinate, : self.lags + 1]
            said.append(f"{style.named(r)} {rho[-1]:.2f} at lag {len(rho) - 1}")
        return (
            "Lines of draw against value on the left, bars of autocorrelation on the right, one "
            f"row for every sampler. The autocorrelation has come to {'; '.join(said)}."
        )
