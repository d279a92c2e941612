"""How figures look: colours, names of sweep points, panels.

Colours are those of Okabe & Ito 2008, "Color universal design", which people with any common
colour vision tell apart; samplers differ by their line too, so that a curve shows under another.
The exact answer is black.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mempost.core.errors import PluginError
from mempost.core.measured import Array, bounds
from mempost.core.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Share = Literal["none", "all", "row", "col"]

BLACK, GREY, LIGHT = "#000000", "#7f7f7f", "#d9d9d9"
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"

COLOURS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY)
LINES = ("--", "-", "-.", ":")

SYMBOLS = {
    "prior.bandwidth": "$h$",
    "data.n": "$N$",
    "data.n_train": "$N$",
    "data.dataset.n_train": "$N$",
    "noise.std": r"$\gamma$",
    "observation.values": "$y$",
    "data.d": "$d$",
}
"""Symbols of well-known coordinates of a sweep."""

NAMES = {"prior.bandwidth": "prior bandwidth $h$", "noise.std": r"noise std $\gamma$"}
"""Axis labels of well-known coordinates of a sweep."""

METRICS = {
    "sliced_wasserstein": "sliced Wasserstein-1 distance",
    "energy_distance": "energy distance",
    "mmd": "maximum mean discrepancy",
    "tv_to_exact": "total variation",
    "mode_mass_error": "mass on wrong components",
}
"""Axis labels of metrics."""


class Look(NamedTuple):
    """Colour and line of a sampler."""

    color: str
    linestyle: str


def looks(results: Sequence[Result], reference: str | None = None) -> dict[str, Look]:
    """A look for every sampler, the same in all figures of a study but for a black reference."""
    found = {
        key: Look(COLOURS[i % len(COLOURS)], LINES[i % len(LINES)])
        for i, key in enumerate(dict.fromkeys(result.key for result in results))
    }
    return found | ({reference: Look(BLACK, "-")} if reference is not None else {})


def by_point(results: Sequence[Result]) -> list[dict[str, Result]]:
    """The results of every sweep point by sampler, in order."""
    groups = groupby(results, key=lambda result: tuple(map(repr, result.point.items())))
    return [{result.key: result for result in group} for _, group in groups]


def with_measured(
    results: Sequence[Result], variable: str, figure: str, metric: str
) -> list[Result]:
    """The results of which a variable has been measured.

    Raises:
        PluginError: there are none.
    """
    found = [result for result in results if variable in result.measured]
    if not found:
        raise PluginError(
            f"{figure} draws what the metric {metric} measures, which has measured nothing here: "
            f"add {{type: {metric}}} to the metrics, or leave the figure out"
        )
    return found


def in_words(measured: Array, digits: int = 3) -> str:
    """A number with its interval, where it has one: ``0.25 (0.21 to 0.3)``."""
    value, low, high = bounds(measured)
    interval = "" if np.isnan(low) else f" ({low:.{digits}g} to {high:.{digits}g})"
    return f"{value:.{digits}g}{interval}"


def numbers(groups: Sequence[Mapping[str, Result]], variable: str, name: str) -> str:
    """A sentence with a number of every result that has it; empty if none has."""
    said = [
        f"{named(r)}: {in_words(r.measured[variable])}"
        for group in groups
        for r in group.values()
        if variable in r.measured
    ]
    return f" {name[0].upper()}{name[1:]}: {'; '.join(said)}." if said else ""


def named(result: Result, separator: str = " at ") -> str:
    """A sampler and the point of the sweep, as plain text."""
    parts = [sampler_label(result.key), title_of(result.point).replace("$", "")]
    return separator.join(part for part in parts if part)


def title_of(point: Mapping[str, Any], separator: str = ", ") -> str:
    """A sweep point in words: ``h = 0.5, N = 50``."""
    return separator.join(_coordinate(path, value) for path, value in point.items())


def axis_label(path: str) -> str:
    """A coordinate of the sweep as an axis label."""
    if path in NAMES or path in SYMBOLS:
        return NAMES.get(path, SYMBOLS.get(path, path))
    return path.rpartition(".")[2].replace("_", " ")


def _coordinate(path: str, value: Any) -> str:
    if isinstance(value, str):
        return value.replace("_", " ")
    parts = path.split(".")
    shown = parts[1:] if parts[0] == "samplers" and len(parts) > 2 else parts[-1:]
    name = SYMBOLS.get(path, " ".join(shown).replace("_", " "))
    return f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"


def sampler_label(key: str) -> str:
    """A sampler's key as it stands in legends."""
    return key.replace("_", " ")


def stem(*parts: str) -> str:
    """A file stem of letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", "_".join(part for part in parts if part))


def canvas(width: float, height: float) -> Canvas:
    """An empty figure, in inches, that places its contents without overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(
    rows: int,
    columns: int,
    width: float,
    height: float,
    *,
    extra: float = 0.0,
    sharex: Share = "none",
    sharey: Share = "none",
) -> tuple[Canvas, np.ndarray]:
    """A figure of panels, each ``width`` x ``height`` inches, and the axes (rows, columns).

    ``extra`` inches are left for a legend.
    """
    figure = canvas(max(width * columns, 3.5), height * rows + extra)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def grid_of(count: int, most: int = 4) -> tuple[int, int]:
    """Rows and columns for ``count`` panels."""
    columns = min(count, most)
    return -(-count // columns), columns


def legend_above(figure: Canvas, axes: np.ndarray) -> None:
    """One legend for all panels, above them, each label once."""
    entries: dict[str, Any] = {}
    for ax in axes.flat:
        handles, labels = ax.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            entries.setdefault(label, handle)
    if not entries:
        return
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside upper center",
        ncols=_legend_columns(list(entries), figure.get_size_inches()[0]),
        frameon=False,
        fontsize="small",
    )


def _legend_columns(labels: list[str], inches: float) -> int:
    """The most columns that fit; entries fill one column after the other."""
    for columns in range(len(labels), 1, -1):
        split = np.array_split([len(label) for label in labels], columns)
        if sum(0.62 + 0.075 * max(lengths) for lengths in split) <= inches:
            return columns
    return 1


def spread_draws(result: Result, most: int) -> np.ndarray:
    """Places of at most ``most`` draws, evenly spaced along as many chains as there are."""
    chains, draws = result.samples.values.shape[:2]
    chains, each = min(chains, most), min(draws, max(1, most // min(chains, most)))
    along = np.linspace(0, draws - 1, each).round().astype(int)
    return (np.arange(chains)[:, None] * draws + along).ravel()


def thinned(groups: Sequence[dict[str, Result]], most: int) -> list[dict[str, Result]]:
    """At most ``most`` of the sweep points, evenly spaced, the ends included."""
    if len(groups) <= most:
        return list(groups)
    return [groups[round(i)] for i in np.linspace(0, len(groups) - 1, most)]


def histogram(
    values: np.ndarray, window: tuple[float, float], bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Heights (bins,) and edges (bins + 1,) of a density over a window.

    Values outside count: a histogram that does not show all of the mass has a smaller area.
    """
    counts, edges = np.histogram(values, bins=bins, range=window)
    return counts / (len(values) * np.diff(edges)), edges


def training_ticks(ax: Axes, values: np.ndarray) -> None:
    """Training points as ticks on the lower edge."""
    if len(values):
        ax.plot(
            values,
            np.full(len(values), 0.03),
            "|",
            color=BLACK,
            markersize=9,
            markeredgewidth=1.2,
            transform=ax.get_xaxis_transform(),
            label="training points",
            zorder=5,
        )


def say(ax: Axes, text: str) -> None:
    """A word in the middle of an empty panel."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)


def state_label(result: Result, coordinate: int = 0) -> str:
    """The name of a coordinate of x, counted from 1 as in x_1; of the only one, x."""
    coordinates = result.problem.prior.coordinates
    identity = bool((coordinates.location == 0).all() and (coordinates.scale == 1).all())
    symbol = "$x$" if result.problem.dimension == 1 else f"$x_{{{coordinate + 1}}}$"
    return symbol if identity else f"{symbol} (standardised)"


def sequence(count: int) -> list[Any]:
    """Colours of an ordered series, dark to light."""
    from matplotlib import colormaps

    return [colormaps["viridis"](value) for value in np.linspace(0, 0.85, count)]


def shades(color: str, count: int) -> list[Any]:
    """A colour and lighter mixtures of it with white."""
    from matplotlib.colors import to_rgb

    rgb = np.array(to_rgb(color))
    return [tuple(1 - (1 - rgb) * part) for part in np.linspace(1, 0.35, count)]
