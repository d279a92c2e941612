"""The heaviest components of a linearised mixture as velocity fields, beside their examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mempost.core.capabilities import HasComponents, HasTangents, ask, require
from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style, waves
from mempost.methods.waves.models import WaveModels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class Panel(NamedTuple):
    """A field (n_x, n_z) in km/s and its title."""

    field: Tensor
    title: str


class MixtureMeans(Figure):
    """Truth, posterior mean, and the means of the heaviest components beside their examples.

    Velocities in km/s; one figure for every sampler with a linearised mixture, a row for every
    point of the sweep. Above each component's mean stands its weight.
    """

    components: int = Field(2, ge=1, le=4, description="shown, the heaviest ones")
    rows: int = Field(6, ge=1, description="at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        mixtures = [r for r in results if ask(r.posterior, HasTangents) is not None]
        if not mixtures:
            raise PluginError("mixture_means draws samplers such as exact_lgm, there is none here")
        for key in dict.fromkeys(result.key for result in mixtures):
            groups = style.by_point([result for result in mixtures if result.key == key])
            thinned = style.thinned(groups, self.rows)
            chosen = [group[key] for group in thinned]
            rows = [self._row(result) for result in chosen]
            figure, name = self._figure(chosen, rows), style.stem("mixture_means", key)
            yield Picture(name, figure, *_words(chosen, rows))

    def _figure(self, results: list[Result], rows: list[list[Panel]]) -> Canvas:
        columns = max(len(row) for row in rows)
        figure = style.canvas(1.6 * columns + 1.6, 1.8 * len(rows) + 0.5)
        axes = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
        pooled = np.concatenate([panel.field.flatten().numpy() for row in rows for panel in row])
        low, high = np.quantile(pooled, [0.002, 0.998])
        shown: Any = None
        for line, row, result in zip(axes, rows, results, strict=True):
            models = WaveModels.of(result.problem)
            assert models is not None
            for ax in line[len(row) :]:
                ax.set_axis_off()
            for ax, panel in zip(line, row, strict=False):
                shown = waves.image(ax, models.waves, panel.field, "viridis", (low, high))
                ax.set_title(panel.title, fontsize="small")
                ax.label_outer()
            title = style.title_of(result.point, "\n")
            line[0].set_ylabel(f"{title}\nz (km)" if title else "z (km)")
        figure.colorbar(
            shown, ax=axes, label="velocity (km/s)", shrink=0.8, aspect=30, extend="both"
        )
        figure.suptitle(style.sampler_label(results[0].key), fontsize="medium")
        return figure

    def _row(self, result: Result) -> list[Panel]:
        models, posterior = WaveModels.of(result.problem), result.posterior
        if models is None:
            raise PluginError(
                "mixture_means draws problems with the operator helmholtz, this has none"
            )
        mixture = require(posterior, HasTangents, "mixture_means")
        means = require(result.problem.prior, HasComponents, "mixture_means").means
        log_weights, index = mixture.log_weights.topk(
            min(self.components, len(mixture.log_weights))
        )
        states, titles = [mixture.weights @ mixture.component_means], ["posterior mean"]
        if result.truth is not None:
            states, titles = [result.truth, *states], ["truth", *titles]
        for log_weight, n in zip(log_weights.tolist(), index.tolist(), strict=True):
            states += [mixture.component_means[n], means[n]]
            titles += [f"component, {weight_label(log_weight)}", f"training {n}"]
        fields = models.velocity(torch.stack(states)).double().cpu()
        return [Panel(field, title) for field, title in zip(fields, titles, strict=True)]


def _words(results: Sequence[Result], rows: Sequence[Sequence[Panel]]) -> tuple[str, str]:
    """Caption and alternative text: the weights of what is shown."""
    said = [
        f"{style.named(r)} " + ", ".join(p.title for p in row if "$w$" in p.title).replace("$", "")
        for r, row in zip(results, rows, strict=True)
    ]
    error = style.numbers([{r.key: r} for r in results], "velocity_rmse_mean", "RMSE of the mean")
    caption = (
        "Velocity of the truth, of the posterior mean, and of the heaviest components of the "
        f"mixture beside the training models that they belong to: {'; '.join(said)}.{error}"
    )
    return caption, f"Rows of maps of velocity, x across and z down: {'; '.join(said)}."


def weight_label(log_weight: float) -> str:
    """A weight in print: ``w = 0.31``, or a power of ten where it is tiny."""
    if log_weight > math.log(1e-3):
        return f"$w$ = {math.exp(log_weight):.2g}"
    return rf"$w$ = $10^{{{log_weight / math.log(10):.0f}}}$"
