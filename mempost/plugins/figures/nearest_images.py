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
from mempost.plugins.figures import style
from mempost.plugins.metrics.moments import posterior_moments
from mempost.plugins.metrics.pairwise import nearest_distances
from mempost.plugins.metrics.thinning import thin

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
    to the draw than the next ones.
    """

    samples: int = Field(3, ge=1, description="draws shown, of as many chains as there are")
    k: int = Field(50, ge=2, description="neighbours in r, at most N")
    rows: int = Field(8, ge=1, description="at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        shape = results[0].problem.prior.shape
        if len(shape) != 2:
            raise PluginError(f"nearest_images draws images (height, width), found shape {shape}")
        for key in dict.fromkeys(result.key for result in results):
            groups = style.by_point([result for result in results if result.key == key])
            chosen = [group[key] for group in style.thinned(groups, self.rows)]
            figure = self._figure(chosen)
            yield Picture(style.stem("nearest_images", key), figure, self.summary(), self.summary())

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
        mean, std = posterior_moments(result, "raw")
        tiles: dict[str, Tile] = {}
        if result.truth is not None:
            tiles["truth"] = Tile(image(to_raw(result.truth)))
        if (data := data_image(result)) is not None:
            tiles["data"] = Tile(data.cpu().numpy())
        tiles["mean"] = Tile(image(mean))
        if std is not None:
            tiles["std"] = Tile(image(std))
        draws = to_raw(thin(result.samples, self.samples).flat)
        if result.data is None:
            return tiles | {f"draw {i}": Tile(image(x)) for i, x in enumerate(draws)}
        train = to_raw(result.data.train.flatten(1))
        distances, index = nearest_distances(draws, train, min(self.k, len(train)))
        for i, x in enumerate(draws):
            note = ""
            if distances.shape[1] > 1:
                note = f"$r$ = {float(distances[i, 0] / distances[i, 1:].mean()):.2f}"
            tiles[f"draw {i}"] = Tile(image(x))
            tiles[f"nearest {i}"] = Tile(image(train[index[i, 0]]), note)
        return tiles


def data_image(result: Result) -> Float[Tensor, "height width"] | None:
    """The data as an image, NaN where they do not see; None without data or at too high a cost."""
    problem = result.problem
    if problem.question is None:
        return None
    if tuple(problem.y.shape) == problem.prior.shape and not problem.y.is_complex():
        return problem.y
    if problem.data_dimension * problem.dimension > _LARGEST_JACOBIAN:
        return None
    mean, _ = posterior_moments(result, "prior")
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
