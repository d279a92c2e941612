"""What the figures of the finite-sample lens are made of: curves over t, heat maps, bars of masses.

The axis of t is turned round, so that all panels read in the order of sampling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mempost.core.capabilities import CanIntegrate, ask
from mempost.core.errors import PluginError
from mempost.core.result import Result
from mempost.plugins.figures import style
from mempost.plugins.metrics.particle_law import ParticleLaw, particle_laws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Window = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Lens:
    """A sampler's particles at all levels of its trace, in the order of sampling."""

    result: Result
    laws: tuple[ParticleLaw, ...]

    @cached_property
    def t(self) -> np.ndarray:
        return np.array([law.t for law in self.laws])

    @cached_property
    def distances(self) -> np.ndarray:
        """w1 and its floor, (times, 2)."""
        streams = self.result.streams
        return np.array([law.distances(streams, 2000, 64) for law in self.laws])


def lenses(group: Mapping[str, Result], reference: str) -> dict[str, Lens]:
    """The samplers of one point that keep a trace.

    Raises:
        PluginError: none of them does.
    """
    found: dict[str, Lens] = {}
    for key, result in group.items():
        laws = sorted(particle_laws(result, reference), key=lambda law: -law.t)
        if laws:
            found[key] = Lens(result, tuple(laws))
    if not found:
        raise PluginError("no sampler keeps a trace of its particles (trace: [t, ...])")
    return found


def window_of(lens: Lens) -> Window:
    """An interval of x that holds the exact law at all levels, in one dimension."""
    spread = [(float(law.exact.mean()[0]), float(law.exact.std()[0])) for law in lens.laws]
    return min(m - 3.2 * s for m, s in spread), max(m + 3.2 * s for m, s in spread)


# -- heat maps of p(x_t | y) -----------------------------------------------------------------------


def particle_density(lens: Lens, window: Window, bins: int) -> np.ndarray:
    """Histograms of the particles, (bins, times)."""
    columns = [
        style.histogram(law.particles[:, 0].cpu().numpy(), window, bins)[0] for law in lens.laws
    ]
    return np.stack(columns, 1)


def exact_density(lens: Lens, window: Window, bins: int) -> np.ndarray | None:
    """The exact law in the same bins; None if the reference cannot be integrated."""
    if ask(lens.laws[0].exact.posterior, CanIntegrate) is None:
        return None
    edges = torch.linspace(*window, bins + 1, dtype=lens.laws[0].particles.dtype)
    cdf = [law.exact.cdf(edges.to(law.particles.device)).cpu().numpy() for law in lens.laws]
    return np.diff(np.stack(cdf, 1), axis=0) / (edges[1] - edges[0]).item()


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
    exact = [law.exact_spread for law in first.laws]
    ax.plot(first.t, exact, color=style.BLACK, linewidth=3, alpha=0.35, label="exact")
    for key, lens in group.items():
        spread = [law.spread for law in lens.laws]
        ax.plot(lens.t, spread, label=style.sampler_label(key), **looks[key]._asdict())
    _over_time(ax, "spread of $x_t$")
    ax.set_ylim(0, None)


def mean_curves(ax: Axes, group: Mapping[str, Lens], looks: Mapping[str, style.Look]) -> None:
    """Mean of x_t given y in one dimension, its distance from the exact one otherwise."""
    first = next(iter(group.values()))
    line = first.result.problem.dimension == 1
    if line:
        exact = [float(law.exact.mean()[0]) for law in first.laws]
        ax.plot(first.t, exact, color=style.BLACK, linewidth=3, alpha=0.35, label="exact")
    for key, lens in group.items():
        values = [float(law.mean[0]) if line else law.bias for law in lens.laws]
        ax.plot(lens.t, values, label=style.sampler_label(key), **looks[key]._asdict())
    _over_time(ax, "mean of $x_t$" if line else "rms error of the mean of $x_t$")


def error_curves(ax: Axes, group: Mapping[str, Lens], looks: Mapping[str, style.Look]) -> None:
    """Distance to the exact law of x_t against t: the error if the run stops there."""
    first = next(iter(group.values()))
    ax.fill_between(
        first.t, first.distances[:, 1], color=style.LIGHT, label="exact draws (floor)", linewidth=0
    )
    for key, lens in group.items():
        label = style.sampler_label(key)
        ax.plot(lens.t, lens.distances[:, 0], label=label, **looks[key]._asdict())
    ax.set_yscale("log")
    lowest = min(lens.distances.min() for lens in group.values())
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
    drawn = {r.key: r.metrics for r in results if "hallucinated_mass" in r.metrics}
    if not drawn:
        return False
    count = sum(name.startswith("mass_exact_") for name in next(iter(drawn.values())))
    if count == 1:
        return False
    if 0 < count <= most:
        _component_bars(ax, drawn, looks, count)
    else:
        _wrong_bars(ax, drawn, looks)
    return True


def _component_bars(
    ax: Axes,
    drawn: Mapping[str, Mapping[str, float]],
    looks: Mapping[str, style.Look],
    count: int,
) -> None:
    width = 0.84 / len(drawn)
    for i, (key, metrics) in enumerate(drawn.items()):
        x = np.arange(count) - 0.42 + (i + 0.5) * width
        heights = [metrics[f"mass_{j}"] for j in range(count)]
        ax.bar(x, heights, width, label=style.sampler_label(key), **_filled(looks[key]))
    exact = next(iter(drawn.values()))
    for j in range(count):
        _exact_line(ax, j, exact[f"mass_exact_{j}"])
    ax.set_xticks(range(count), [f"{j}" for j in range(count)])
    ax.set_xlabel("component of the prior")
    ax.set_ylabel("mass (line: exact)")
    ax.set_ylim(0, 1.04)


def _wrong_bars(
    ax: Axes, drawn: Mapping[str, Mapping[str, float]], looks: Mapping[str, style.Look]
) -> None:
    names = {"hallucinated_mass": "on wrong atoms", "off_atom_mass": "near no atom"}
    present = [name for name in names if any(name in metrics for metrics in drawn.values())]
    width = 0.84 / len(drawn)
    for i, (key, metrics) in enumerate(drawn.items()):
        x = np.arange(len(present)) - 0.42 + (i + 0.5) * width
        heights = [metrics.get(name, 0.0) for name in present]
        ax.bar(x, heights, width, label=style.sampler_label(key), **_filled(looks[key]))
    exact = next(iter(drawn.values())).get("hallucinated_mass_exact", 0.0)
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
