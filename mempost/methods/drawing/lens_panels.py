"""What the figures of the finite-sample lens are made of: curves over t, heat maps, bars of masses.

The axis of t is turned round, so that all panels read in the order of sampling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mempost.core.errors import PluginError
from mempost.core.measured import Array
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Window = tuple[float, float]
Measured = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Lens:
    """What the finite-sample lens has measured of a sampler, level by level from t = 1 on."""

    result: Result

    @property
    def t(self) -> np.ndarray:
        """Times of the levels, falling."""
        return self["spread"]["level"].values

    def __getitem__(self, variable: str) -> Array:
        return self.result.measured[variable]

    def __contains__(self, variable: str) -> bool:
        return variable in self.result.measured

    @property
    def particles(self) -> list[np.ndarray]:
        """The particles (n, d) that the sampler has kept, level by level."""
        path = self.result.samples.trajectory
        assert path is not None
        return [path.states(path.t.tolist().index(t)).cpu().numpy() for t in self.t]

    @property
    def worst_spread(self) -> str:
        """Where the spread is farthest from the exact one, in words."""
        errors = abs(self["spread"] - self["spread_exact"])
        at = {"level": int(errors.values.argmax())}
        spread, exact = (float(self[name].isel(at)) for name in ("spread", "spread_exact"))
        return f"{spread:.2f} where {exact:.2f} is exact, at t = {float(errors[at]['level']):g}"


def lenses(group: Mapping[str, Result]) -> dict[str, Lens]:
    """The samplers of one point whose trace has been measured.

    Raises:
        PluginError: there are none.
    """
    found = {key: Lens(result) for key, result in group.items() if "spread" in result.measured}
    if not found:
        raise PluginError(
            "no sampler's trace has been measured: add {type: finite_sample_lens} to the metrics "
            "and save: [t, ...] to a sampler"
        )
    return found


def window_of(lens: Lens) -> Window:
    """An interval of x that holds the exact law at all levels, in one dimension."""
    mean, spread = lens["lens_mean_exact"], lens["spread_exact"]
    return float((mean - 3.2 * spread).min()), float((mean + 3.2 * spread).max())


# -- heat maps of p(x_t | y) -----------------------------------------------------------------------


def particle_density(lens: Lens, window: Window, bins: int) -> np.ndarray:
    """Histograms of the particles, (bins, times)."""
    return np.stack([style.histogram(z[:, 0], window, bins)[0] for z in lens.particles], 1)


def exact_density(lens: Lens, window: Window, bins: int) -> np.ndarray | None:
    """The exact law in the same bins; None if the reference cannot be integrated."""
    if "lens_cdf_exact" not in lens:
        return None
    edges = np.linspace(*window, bins + 1)
    grids, cdfs = lens["lens_grid"].values, lens["lens_cdf_exact"].values
    cdf = [np.interp(edges, grid, values, 0.0, 1.0) for grid, values in zip(grids, cdfs)]
    return np.diff(np.stack(cdf, 1), axis=0) / (edges[1] - edges[0])


def heat_map(ax: Axes, t: np.ndarray, density: np.ndarray, window: Window, top: float) -> Any:
    """p(x_t | y) over (t, x), colours by the square root so that small modes show."""
    from matplotlib.colors import PowerNorm

    edges = np.concatenate([[min(1.0, 1.5 * t[0] - 0.5 * t[1])], (t[1:] + t[:-1]) / 2, [0.0]])
    x = np.linspace(*window, density.shape[0] + 1)
    mesh = ax.pcolormesh(
        edges, x, density, cmap="magma_r", norm=PowerNorm(0.5, 0, top), rasterized=True
    )
    ax.set_xlim(edges[0], 0)
    ax.set_ylim(*window)
    return mesh


# -- curves over t ---------------------------------------------------------------------------------


def _over_time(ax: Axes, ylabel: str) -> None:
    ax.set_xlabel("$t$")
    ax.set_ylabel(ylabel)
    ax.set_xlim(1, 0)


def spread_curves(ax: Axes, group: Mapping[str, Lens], looks: Mapping[str, style.Look]) -> None:
    """Spread of x_t given y."""
    first = next(iter(group.values()))
    ax.plot(
        first.t, first["spread_exact"], color=style.BLACK, linewidth=3, alpha=0.35, label="exact"
    )
    for key, lens in group.items():
        label = style.sampler_label(key)
        ax.plot(lens.t, lens["spread"], label=label, **looks[key]._asdict())
    _over_time(ax, "spread of $x_t$")
    ax.set_ylim(0, None)


def mean_curves(ax: Axes, group: Mapping[str, Lens], looks: Mapping[str, style.Look]) -> None:
    """Mean of x_t given y in one dimension, its distance from the exact one otherwise."""
    first = next(iter(group.values()))
    line = "lens_mean" in first
    if line:
        exact = first["lens_mean_exact"]
        ax.plot(first.t, exact, color=style.BLACK, linewidth=3, alpha=0.35, label="exact")
    for key, lens in group.items():
        values = lens["lens_mean" if line else "bias"]
        ax.plot(lens.t, values, label=style.sampler_label(key), **looks[key]._asdict())
    _over_time(ax, "mean of $x_t$" if line else "rms error of the mean of $x_t$")


def error_curves(ax: Axes, group: Mapping[str, Lens], looks: Mapping[str, style.Look]) -> None:
    """Distance to the exact law of x_t against t: the error if the run stops there."""
    first = next(iter(group.values()))
    ax.fill_between(
        first.t, first["w1_null"], color=style.LIGHT, label="exact draws (floor)", linewidth=0
    )
    for key, lens in group.items():
        label = style.sampler_label(key)
        ax.plot(lens.t, lens["w1"], label=label, **looks[key]._asdict())
    ax.set_yscale("log")
    lowest = min(float(lens[name].min()) for lens in group.values() for name in ("w1", "w1_null"))
    ax.set_ylim(0.7 * lowest, None)
    name = "$W_1$" if first.result.problem.dimension == 1 else "sliced $W_1$"
    _over_time(ax, f"{name} to the exact law of $x_t$")


# -- masses at the end -----------------------------------------------------------------------------


def mass_bars(
    ax: Axes, results: Iterable[Result], looks: Mapping[str, style.Look], most: int = 6
) -> bool:
    """Masses of the components beside the exact ones; wrong mass alone if they are too many.

    Returns whether there was anything to draw.
    """
    drawn = {r.key: r.measured for r in results if "hallucinated_mass" in r.measured}
    if not drawn:
        return False
    count = next(iter(drawn.values()))["mass_exact"].size
    if count == 1:
        return False
    if count <= most:
        _component_bars(ax, drawn, looks, count)
    else:
        _wrong_bars(ax, drawn, looks)
    return True


def _component_bars(
    ax: Axes, drawn: Mapping[str, Measured], looks: Mapping[str, style.Look], count: int
) -> None:
    width = 0.84 / len(drawn)
    for i, (key, measured) in enumerate(drawn.items()):
        x = np.arange(count) - 0.42 + (i + 0.5) * width
        label = style.sampler_label(key)
        ax.bar(x, measured["mass"].values, width, label=label, **_filled(looks[key]))
    exact = next(iter(drawn.values()))["mass_exact"]
    for j, mass in enumerate(exact.values):
        _exact_line(ax, j, float(mass))
    ax.set_xticks(range(count), [f"{number}" for number in exact["component"].values])
    ax.set_xlabel("component of the prior")
    ax.set_ylabel("mass (line: exact)")
    ax.set_ylim(0, 1.04)


def _wrong_bars(ax: Axes, drawn: Mapping[str, Measured], looks: Mapping[str, style.Look]) -> None:
    names = {"hallucinated_mass": "on wrong atoms", "off_atom_mass": "near no atom"}
    present = [name for name in names if any(name in measured for measured in drawn.values())]
    width = 0.84 / len(drawn)
    for i, (key, measured) in enumerate(drawn.items()):
        x = np.arange(len(present)) - 0.42 + (i + 0.5) * width
        heights = [float(measured.get(name, 0.0)) for name in present]
        ax.bar(x, heights, width, label=style.sampler_label(key), **_filled(looks[key]))
    exact = float(next(iter(drawn.values()))["hallucinated_mass_exact"])
    levels = {"hallucinated_mass": exact, "off_atom_mass": 0.0}
    for j, name in enumerate(present):
        _exact_line(ax, j, levels[name])
    ax.set_xticks(range(len(present)), [names[name] for name in present])
    ax.set_ylabel("mass (line: exact)")
    ax.set_ylim(0, 1.04)


def _exact_line(ax: Axes, place: int, level: float) -> None:
    ax.plot([place - 0.46, place + 0.46], [level, level], color=style.BLACK, linewidth=1.2)


def _filled(look: style.Look) -> dict[str, Any]:
    """A bar in the sampler's colour; hatched where its line is broken."""
    hatch = {"-": "", "--": "///", "-.": "...", ":": "xx"}[look.linestyle]
    return {"color": look.color, "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}


def panel_title(ax: Axes, text: str, look: style.Look | None = None) -> None:
    """A small title in the colour of a sampler."""
    ax.set_title(text, fontsize="small", color=style.BLACK if look is None else look.color)


def in_order(group: Mapping[str, Result], reference: str) -> Sequence[Result]:
    """The results of a point without the reference."""
    return [result for key, result in group.items() if key != reference]
