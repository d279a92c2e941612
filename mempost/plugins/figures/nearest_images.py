"""Images of a posterior beside the training images that they are nearest to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_LARGEST_JACOBIAN = 2**24


class Tile(NamedTuple):
    """An image (height, width) with NaN where nothing is known, and a line of text below it."""

    image: np.ndarray
    note: str = ""


class NearestImages(Figure):
    """Truth, data, posterior mean and std, and draws beside their nearest training images.

    One figure a sampler, one row a point of the sweep. Data that are no image are projected back,
    x + J^T r / diag(J^T J) with the residual r at the mean x; pixels that they do not see are
    hatched. Under every nearest image stands r = d_1 / mean(d_2, ..., d_k), how much closer it is
    to the draw than the next ones. Needs the metrics ``moments`` and, where there are training
    images, ``nearest_neighbour``, which has k.
    """

    samples: int = Field(3, ge=1, description="draws shown, of as many chains as there are")
    rows: int = Field(8, ge=1, description="at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        shape = results[0].problem.prior.shape
        if len(shape) != 2:
            raise PluginError(f"nearest_images draws images (height, width), found shape {shape}")
        results = style.with_measured(results, "mean", "nearest_images", "moments")
        if any(result.data is not None for result in results):
            style.with_measured(results, "nn_nearest", "nearest_images", "nearest_neighbour")
        for key in dict.fromkeys(result.key for result in results):
            groups = style.by_point([result for result in results if result.key == key])
            chosen = [group[key] for group in style.thinned(groups, self.rows)]
            name = style.stem("nearest_images", key)
            yield Picture(name, self._figure(chosen), _caption(chosen), self._alt(chosen))

    def _figure(self, results: list[Result]) -> Canvas:
        rows = [self._row(result) for result in results]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        figure = style.canvas(1.0 * len(columns) + 1.0, 1.2 * len(rows) + 1.1)
        axes = figure.subplots(len(rows), len(columns), squeeze=False)
        scale = _scale(rows)
        shown: dict[str, Any] = {}
        for line, row, result in zip(axes, rows, results, strict=True):
            for ax, name in zip(line, columns, strict=True):
                kind = "std" if name == "std" else "intensity"
                if name in row:
                    shown[kind] = _show(ax, row[name], kind, scale)
                else:
                    ax.set_axis_off()
            line[0].set_ylabel(
                style.title_of(result.point, "\n"), rotation=0, ha="right", va="center"
            )
        for ax, name in zip(axes[0], columns, strict=True):
            ax.set_title(name.partition(" ")[0], fontsize="medium")
        std = columns.index("std")
        bars = {"intensity": axes[:, std + 1 :], "std": axes[:, max(0, std - 2) : std + 1]}
        labels = {"intensity": "intensity", "std": "posterior std"}
        for kind, beside in bars.items():
            if kind in shown and beside.size:
                figure.colorbar(
                    shown[kind],
                    ax=beside,
                    location="bottom",
                    label=labels[kind],
                    shrink=0.8,
                    aspect=30,
                    pad=0.02,
                )
        return figure

    def _row(self, result: Result) -> dict[str, Tile]:
        """The tiles of one row by column."""
        shape = result.problem.prior.shape

        def image(x: Tensor) -> np.ndarray:
            return x.reshape(shape).cpu().numpy()

        to_raw = result.problem.prior.coordinates.to_raw
        mean, std = _moments(result)
        tiles: dict[str, Tile] = {}
        if result.truth is not None:
            tiles["truth"] = Tile(image(to_raw(result.truth)))
        if (data := data_image(result)) is not None:
            tiles["data"] = Tile(data.cpu().numpy())
        tiles["mean"] = Tile(image(mean))
        if std is not None:
            tiles["std"] = Tile(image(std))
        nearest, ratio = (result.measured.get(name) for name in ("nn_nearest", "nn_ratio"))
        for i, place in enumerate(style.spread_draws(result, self.samples)):
            tiles[f"draw {i}"] = Tile(image(to_raw(result.samples.flat[place])))
            if result.data is not None and nearest is not None:
                x = to_raw(result.data.train.flatten(1)[int(nearest[place])])
                note = "" if ratio is None else f"$r$ = {float(ratio[place]):.2f}"
                tiles[f"nearest {i}"] = Tile(image(x), note)
        return tiles

    def _alt(self, results: Sequence[Result]) -> str:
        said = []
        for r in results:
            if "nn_ratio" in r.measured:
                places = style.spread_draws(r, self.samples)
                ratios = ", ".join(f"{float(r.measured['nn_ratio'][i]):.2f}" for i in places)
                said.append(f"{style.named(r)}: {ratios}")
        return (
            "Rows of small images: truth, data, posterior mean, posterior standard deviation, then "
            f"draws with their nearest training images. {_ratios_in_words(said)}"
        )


def _ratios_in_words(said: Sequence[str]) -> str:
    return f"Ratios r of the draws shown: {'; '.join(said)}." if said else ""


def _caption(results: Sequence[Result]) -> str:
    said = [
        f"{style.named(r)}: {style.in_words(r.measured['nn_rate'])}"
        for r in results
        if "nn_rate" in r.measured
    ]
    rates = f" Share of draws with small r: {'; '.join(said)}." if said else ""
    return (
        "Truth, data (hatched where nothing is seen), posterior mean and standard deviation, and "
        f"draws beside their nearest training images with the distance ratio r.{rates}"
    )


def _moments(result: Result) -> tuple[Tensor, Tensor | None]:
    """Posterior mean and standard deviation (d,) in raw coordinates."""
    like = result.problem.prior.coordinates.location
    mean, std = result.measured["mean"], result.measured.get("std")
    return torch.tensor(mean.values).to(like), None if std is None else torch.tensor(std.values)


def data_image(result: Result) -> Float[Tensor, "height width"] | None:
    """The data as an image, NaN where they do not see; None without data or at too high a cost."""
    problem = result.problem
    if problem.question is None:
        return None
    if tuple(problem.y.shape) == problem.prior.shape and not problem.y.is_complex():
        return problem.y
    if problem.data_dimension * problem.dimension > _LARGEST_JACOBIAN:
        return None
    mean = problem.prior.coordinates.from_raw(_moments(result)[0])
    residual, jacobian = problem.linearise(mean[None].to(problem.prior.dtype))
    sensitivity = jacobian[0].square().sum(0)
    seen = sensitivity > 1e-12 * sensitivity.max()
    step = torch.where(seen, residual[0] @ jacobian[0] / sensitivity, torch.nan)
    return problem.prior.coordinates.to_raw(mean + step).reshape(problem.prior.shape)


def _scale(rows: list[dict[str, Tile]]) -> dict[str, tuple[float, float]]:
    """Common ranges of intensities, by the training images and the truth, and of std."""

    def values(*names: str) -> np.ndarray:
        images = [t.image for row in rows for n, t in row.items() if n.partition(" ")[0] in names]
        return np.concatenate([image.ravel() for image in images] or [np.array([0.0, 1.0])])

    intensity, std = values("truth", "nearest", "mean"), values("std")
    return {
        "intensity": (float(np.nanmin(intensity)), float(np.nanmax(intensity))),
        "std": (0.0, float(np.nanmax(std)) or 1.0),
    }


def _show(ax: Any, tile: Tile, kind: str, scale: dict[str, tuple[float, float]]) -> Any:
    low, high = scale[kind]
    ax.set_facecolor("white")
    ax.patch.set(hatch="/////", edgecolor=style.GREY)
    shown = ax.imshow(
        np.ma.masked_invalid(tile.image),
        cmap="viridis" if kind == "std" else "gray_r",
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(tile.note, fontsize="small")
    return shown
