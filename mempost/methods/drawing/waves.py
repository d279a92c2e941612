"""What figures of wave problems share: the operator in a composition, its model, maps in km."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.result import Result
from mempost.methods.drawing import style
from mempost.methods.waves.models import HasWaves, WaveModels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = 30
"""Positions shown at most."""


def physics(result: Result, figure: str) -> tuple[HasWaves, Float[Tensor, "1 n_x n_z"]]:
    """The wave operator of a problem and the squared slowness of the truth on its grid.

    Raises:
        PluginError: the problem has no wave operator, or its truth is unknown.
    """
    models = WaveModels.of(result.problem)
    if models is None:
        raise PluginError(f"{figure} draws problems with the operator helmholtz, this has none")
    if result.truth is None:
        raise PluginError(f"{figure} draws the truth, which is not known here")
    return models.waves, models.squared_slowness(result.truth[None])


def image(
    ax: Axes, operator: HasWaves, values: Tensor, colours: str, limits: tuple[float, float]
) -> Any:
    """A field (n_x, n_z) as a map, x to the right and z downwards, in km."""
    width, depth = operator.grid.extent
    shown = ax.imshow(
        values.detach().cpu().numpy().T,
        extent=(0, width, depth, 0),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
    )
    ax.set_xlabel("x (km)")
    ax.set_ylabel("z (km)")
    return shown


def signed_limits(values: Tensor, quantile: float = 0.99) -> tuple[float, float]:
    """Limits symmetric about zero; the largest per cent, near sources, goes beyond them."""
    top = float(np.nanquantile(values.detach().abs().cpu().numpy(), quantile))
    return -top, top


def positions(ax: Axes, operator: HasWaves, marked: tuple[int, int] | None = None) -> None:
    """Sources as stars and receivers as triangles, thinned where they are dense.

    Only one pair of them if ``marked``.
    """
    sources, receivers = operator.sources.numpy(), operator.receivers.numpy()
    if marked is not None:
        sources, receivers = sources[marked[0], None], receivers[marked[1], None]
    for points, marker, size, colour, label in (
        (sources, "*", 9, style.VERMILLION, "sources"),
        (receivers, "v", 4, style.BLACK, "receivers"),
    ):
        ax.plot(
            *points.T,
            marker,
            color=colour,
            markersize=size,
            markeredgecolor="white",
            markeredgewidth=0.4,
            markevery=-(-len(points) // MARKERS),
            label=label,
            clip_on=False,
        )
