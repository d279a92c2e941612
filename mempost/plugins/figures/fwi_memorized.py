"""The draws that look most memorized, beside the training models that they are nearest to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.bibliography import SIAHKOOHI_2026_MEMORIZATION
from mempost.methods.drawing import style, waves
from mempost.methods.waves.models import WaveModels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


class Pair(NamedTuple):
    """Velocities (n_x, n_z) of a draw and its nearest training model, r, and the model's number."""

    draw: Tensor
    neighbour: Tensor
    ratio: float
    number: int


class FWIMemorized(Figure):
    """The most memorized velocity models with distinct nearest neighbours, beside these neighbours.

    One figure a sampler, a row for every point of the sweep; the draws with the smallest ratios
    r = d_1 / mean(d_2, ..., d_k) in raw coordinates. Never-trained models have small ratios too
    when there are few examples: read it together with ``ratio_distributions``. Needs the metric
    ``nearest_neighbour``, which has k.
    """

    publications = (SIAHKOOHI_2026_MEMORIZATION,)

    pairs: int = Field(3, ge=1, le=4, description="shown of every result")
    rows: int = Field(6, ge=1, description="at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        if any(WaveModels.of(result.problem) is None for result in results):
            raise PluginError(
                "fwi_memorized draws problems with the operator helmholtz, this has none"
            )
        results = style.with_measured(results, "nn_ratio", "fwi_memorized", "nearest_neighbour")
        for key in dict.fromkeys(result.key for result in results):
            groups = style.by_point([result for result in results if result.key == key])
            rows = [group[key] for group in style.thinned(groups, self.rows)]
            found = [_most_memorized(result, self.pairs) for result in rows]
            figure = self._figure(rows, found)
            yield Picture(
                style.stem("fwi_memorized", key), figure, _caption(rows), _alt(rows, found)
            )

    def _figure(self, results: list[Result], found: list[list[Pair]]) -> Canvas:
        fields = [
            field for pairs in found for pair in pairs for field in (pair.draw, pair.neighbour)
        ]
        limits = (min(float(v.min()) for v in fields), max(float(v.max()) for v in fields))
        columns = 2 * max(len(pairs) for pairs in found)
        figure = style.canvas(1.55 * columns + 1.2, 1.95 * len(results) + 0.6)
        axes = figure.subplots(len(results), columns, squeeze=False, sharex=True, sharey=True)
        shown: Any = None
        for line, result, pairs in zip(axes, results, found, strict=True):
            models = WaveModels.of(result.problem)
            assert models is not None
            for ax in line[2 * len(pairs) :]:
                ax.set_axis_off()
            for number, pair in enumerate(pairs):
                left, right = line[2 * number], line[2 * number + 1]
                for ax, field in ((left, pair.draw), (right, pair.neighbour)):
                    shown = waves.image(ax, models.waves, field, "viridis", limits)
                    ax.label_outer()
                    ax.set_title("", fontsize="small")
                left.set_title(f"draw, r = {pair.ratio:.2g}", fontsize="small")
                right.set_title(f"training {pair.number}", fontsize="small")
            if title := style.title_of(result.point, "\n"):
                line[0].set_ylabel(f"{title}\nz (km)")
        for ax in axes[-1]:
            ax.set_xlabel("x (km)")
        figure.colorbar(shown, ax=axes, label="velocity (km/s)", shrink=0.9, aspect=30)
        figure.suptitle(style.sampler_label(results[0].key), fontsize="medium")
        return figure


def _most_memorized(result: Result, count: int) -> list[Pair]:
    """Pairs with the smallest ratios, each with a neighbour of its own."""
    models, data = WaveModels.of(result.problem), result.data
    assert models is not None and data is not None
    train, x = data.train.flatten(1), result.samples.flat
    ratios, nearest = (result.measured[name].values for name in ("nn_ratio", "nn_nearest"))
    best: dict[int, int] = {}
    for i in ratios.argsort(kind="stable").tolist():
        best.setdefault(int(nearest[i]), i)
    pairs = []
    for n, i in list(best.items())[:count]:
        draw, neighbour = models.velocity(torch.stack([x[i], train[n].to(x)]))
        pairs.append(Pair(draw, neighbour, float(ratios[i]), n))
    return pairs


def _caption(results: Sequence[Result]) -> str:
    said = []
    for r in results:
        distinct = r.measured.get("nn_distinct")
        of = "" if distinct is None else f", nearest to {float(distinct):g} different models"
        said.append(f"{style.named(r)}: {style.in_words(r.measured['nn_rate'])}{of}")
    return (
        "Draws with the smallest ratios r of the nearest distance to the mean of the next ones, "
        f"each beside its nearest training model. Share of memorized draws: {'; '.join(said)}."
    )


def _alt(results: Sequence[Result], found: Sequence[Sequence[Pair]]) -> str:
    said = [
        f"{style.named(r)} "
        + ", ".join(f"r = {pair.ratio:.2g} (training {pair.number})" for pair in pairs)
        for r, pairs in zip(results, found, strict=True)
    ]
    return f"Maps of velocity in pairs, a draw and its nearest training model: {'; '.join(said)}."
