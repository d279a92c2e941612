"""Memorization rates beside their controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import Field

from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.measured import bounds
from mempost.core.result import Result
from mempost.methods.drawing import style

NAMES = {
    "nn_rate": "ratio rule",
    "nn_third_rate": r"$d_1 < d_2/3$",
    "nn_tolerance_rate": "within tolerance",
    "nn_prior_rate": "ratio rule,\nstandardised",
    "nn_prior_third_rate": r"$d_1 < d_2/3$," "\nstandardised",
}


class Bar(NamedTuple):
    """A rate with its interval."""

    value: float
    low: float
    high: float


class MemorizationBars(Figure):
    """Memorization rates with their intervals beside the held-out and leave-one-out controls.

    A panel for every rate, a group of bars for every point of the sweep. Needs the metric
    ``nearest_neighbour``.
    """

    rates: tuple[str, ...] = Field(("nn_rate", "nn_third_rate"), min_length=1)
    points: int = Field(12, ge=1, description="groups at most, evenly thinned over the sweep")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        groups = style.thinned(style.by_point(results), self.points)
        rates = [name for name in self.rates if any(name in r.measured for r in results)]
        if not rates:
            raise PluginError(
                f"memorization_bars draws {', '.join(self.rates)} of the metric nearest_neighbour, "
                "which measured none of them"
            )
        looks = style.looks(results)
        width = max(4.0, 0.35 * len(groups) * (len(looks) + 2) + 1)
        figure, axes = style.panels(len(rates), 1, width, 2.3, extra=0.9, sharex="all")
        for ax, rate in zip(axes[:, 0], rates):
            for position, group in enumerate(groups):
                bars = _bars(group, rate, looks)
                width = 0.8 / (len(looks) + 2)
                for slot, (label, bar, fill) in enumerate(bars):
                    x = position + (slot - (len(looks) + 1) / 2) * width
                    if bar is not None:
                        _draw(ax, x, 0.9 * width, bar, label, fill)
            ax.set(ylim=(0, 1.02), ylabel=f"memorized:\n{NAMES.get(rate, rate)}")
        titles = [style.title_of(next(iter(group.values())).point, "\n") for group in groups]
        axes[-1, 0].set_xticks(range(len(groups)), titles)
        axes[-1, 0].set_xlim(-0.6, len(groups) - 0.4)
        style.legend_above(figure, axes)
        said = _in_words(groups, rates)
        caption = (
            "Share of draws that count as memorized, with bootstrap intervals, beside the share of "
            f"held-out examples and of training examples among the others. {said}."
        )
        alt = f"Bars, a group for every point of the sweep. {said}."
        yield Picture("memorization_bars", figure, caption, alt)


def _in_words(groups: Sequence[dict[str, Result]], rates: Sequence[str]) -> str:
    """Every rate with its interval and the held-out one."""
    said = []
    for rate in rates:
        found = [r for group in groups for r in group.values() if rate in r.measured]
        parts = [f"{style.named(r)}: {_beside_control(r, rate)}" for r in found]
        said.append(f"{rate} of {'; '.join(parts)}")
    return ". ".join(said)


def _beside_control(result: Result, rate: str) -> str:
    control = result.measured.get(f"{rate}_held_out")
    beside = "" if control is None else f" against {style.in_words(control)} held out"
    return style.in_words(result.measured[rate]) + beside


def _bars(
    group: dict[str, Result], rate: str, looks: dict[str, style.Look]
) -> list[tuple[str, Bar | None, dict[str, Any]]]:
    """Label, bar and fill of the two controls and of all samplers."""
    controls = {
        "held out": ("_held_out", {"facecolor": style.LIGHT}),
        "leave one out": ("_leave_one_out", {"facecolor": "white", "hatch": "////"}),
    }
    bars: list[tuple[str, Bar | None, dict[str, Any]]] = []
    for label, (suffix, fill) in controls.items():
        measured = [bar for r in group.values() if (bar := _bar(r, rate + suffix)) is not None]
        bars.append((label, measured[0] if measured else None, {**fill, "edgecolor": style.GREY}))
    for key, look in looks.items():
        bar = _bar(group[key], rate) if key in group else None
        bars.append((style.sampler_label(key), bar, {"facecolor": look.color}))
    return bars


def _bar(result: Result, name: str) -> Bar | None:
    return Bar(*bounds(result.measured[name])) if name in result.measured else None


def _draw(ax: Any, x: float, width: float, bar: Bar, label: str, fill: dict[str, Any]) -> None:
    ax.bar(x, bar.value, width, label=label, **fill)
    error = [[max(0.0, bar.value - bar.low)], [max(0.0, bar.high - bar.value)]]
    ax.errorbar(x, bar.value, error, fmt="none", ecolor=style.BLACK, elinewidth=1, capsize=2)
