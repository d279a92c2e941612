"""A posterior of velocity models in eight panels: fields, misfit, calibration, coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Limits = tuple[float, float]


class Fields(NamedTuple):
    """Velocities of one result in km/s, each (n_x, n_z)."""

    truth: Tensor
    mean: Tensor
    std: Tensor
    error: Tensor


class FWIPanels(Figure):
    """True velocity, posterior mean, std and error, misfit by step, calibration, coefficients.

    One figure for every sampler and point of the sweep. Colour scales are shared by all of them:
    one for velocities, one for std and error. The misfit is that of the denoised state at the
    levels that the sampler saves; 1 is the noise. Calibration shows bins of equal counts, of nodes
    and of coefficients, against the line where error equals spread. Needs the metric
    ``velocity_error``, and shows what ``misfit`` and ``pixel_calibration`` measure.
    """

    publications = (SIAHKOOHI_2026_MEMORIZATION,)

    coefficients: tuple[int, int] = Field((0, 1), description="shown in the scatter, from 0")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        for result in results:
            _require(result)
        results = style.with_measured(results, "velocity_mean", "fwi_panels", "velocity_error")
        fields = [_fields(result) for result in results]
        top = max(_top(field) for field in fields)
        low, high = _range(fields)
        looks = style.looks(results)
        for number, group in enumerate(points := style.by_point(results)):
            for key, result in group.items():
                place = next(i for i, other in enumerate(results) if other is result)
                name = style.stem("fwi_panels", key, str(number) if len(points) > 1 else "")
                color = looks[key].color
                drawn = self._figure(result, fields[place], ((low, high), (0, top)), color)
                yield Picture(name, drawn, _caption(result), _alt(result, fields[place]))

    def _figure(
        self, result: Result, fields: Fields, limits: tuple[Limits, Limits], color: str
    ) -> Canvas:
        figure = style.canvas(13.2, 6.2)
        figure.set_layout_engine("constrained", rect=(0, 0, 0.98, 1))  # room for long ticks
        axes = figure.subplots(2, 4)
        _maps(figure, axes[0], result, fields, limits)
        for ax in axes[1]:
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_box_aspect(0.85)
        self._misfit(axes[1, 0], result, color)
        _calibration(axes[1, 1], result, "pixel", color, "velocity", " (km/s)")
        _calibration(axes[1, 2], result, "coefficient", color, "coefficients", "")
        self._scatter(axes[1, 3], result, color)
        title = ", ".join(
            part for part in (style.sampler_label(result.key), style.title_of(result.point)) if part
        )
        figure.suptitle(title, fontsize="large")
        return figure

    def _misfit(self, ax: Axes, result: Result, color: str) -> None:
        ax.set_title("misfit of the denoised state", fontsize="medium")
        trace = result.measured.get("misfit_trace")
        if trace is None:
            style.say(ax, "no trace")
            ax.set_axis_off()
            return
        steps, mean = trace["step"].values, result.measured["misfit_trace_mean"].values
        ax.plot(steps, trace.values, color=color, linewidth=0.6, alpha=0.4)
        label = f"mean of {trace.sizes['particle']}"
        ax.plot(steps, mean, color=color, marker="o", markersize=3, label=label)
        ax.axhline(1, color=style.GREY, linestyle=":", label="noise")
        ax.set(yscale="log", xlabel="step", ylabel=r"$\chi^2$ per datum")
        ax.locator_params(axis="x", integer=True)
        ax.legend(frameon=False, fontsize="small")

    def _scatter(self, ax: Axes, result: Result, color: str) -> None:
        i, j = self.coefficients
        if max(i, j) >= (d := result.problem.dimension):
            raise PluginError(
                f"fwi_panels: coefficients holds {max(i, j)}; allowed are 0 to {d - 1}"
            )
        to_raw = result.problem.prior.coordinates.to_raw
        drawn = to_raw(result.samples.flat)[:, [i, j]].cpu().numpy()
        if result.data is not None:
            train = to_raw(result.data.train.flatten(1))[:, [i, j]].cpu().numpy()
            size = 4 if len(train) <= 100 else 2.5
            ax.plot(*train.T, "o", color=style.GREY, markersize=size, label="training", alpha=0.6)
        ax.plot(*drawn.T, ".", color=color, markersize=4, label="draws", alpha=0.7)
        if result.truth is not None:
            true = to_raw(result.truth)[[i, j]].cpu().numpy()
            ax.plot(
                *true,
                "*",
                color=style.BLACK,
                markeredgecolor="white",
                markersize=12,
                label="truth",
            )
        ax.set(xlabel=f"$z_{{{i + 1}}}$ (raw)", ylabel=f"$z_{{{j + 1}}}$ (raw)")
        ax.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=3,
            frameon=False,
            fontsize="small",
            handletextpad=0.1,
            columnspacing=0.8,
        )


def _require(result: Result) -> None:
    if WaveModels.of(result.problem) is None:
        raise PluginError("fwi_panels draws problems with the operator helmholtz, this has none")
    if result.truth is None:
        raise PluginError("fwi_panels draws the truth, which is not known here")


def _fields(result: Result) -> Fields:
    models = WaveModels.of(result.problem)
    assert models is not None and result.truth is not None
    names = ("velocity_mean", "velocity_std", "velocity_error")
    mean, std, error = (torch.tensor(result.measured[name].values) for name in names)
    return Fields(models.velocity(result.truth[None])[0].double().cpu(), mean, std, error)


def _range(fields: Sequence[Fields]) -> Limits:
    """A scale for velocities; half a per cent at either end goes beyond it."""
    pooled = torch.stack([v.flatten() for field in fields for v in (field.truth, field.mean)])
    low, high = np.quantile(pooled.cpu().numpy(), [0.005, 0.995])
    return float(low), float(high)


def _top(fields: Fields) -> float:
    """The upper end of a scale for std and error; the largest per cent goes beyond it."""
    pooled = torch.cat([fields.std.flatten(), fields.error.flatten()])
    return float(np.quantile(pooled.cpu().numpy(), 0.99))


def _maps(
    figure: Canvas, axes: np.ndarray, result: Result, fields: Fields, limits: tuple[Limits, Limits]
) -> None:
    models = WaveModels.of(result.problem)
    assert models is not None
    of_velocity, of_spread = limits
    rows = (
        ("true velocity", fields.truth, "viridis", of_velocity),
        ("posterior mean", fields.mean, "viridis", of_velocity),
        ("posterior std", fields.std, "magma", of_spread),
        ("|mean - truth|", fields.error, "magma", of_spread),
    )
    shown = []
    for ax, (title, values, colours, scale) in zip(axes, rows, strict=True):
        shown.append(waves.image(ax, models.waves, values, colours, scale))
        ax.set_title(title, fontsize="medium")
    for ax in axes[1:]:
        ax.set_ylabel("")
    for k, extend in ((0, "both"), (2, "max")):
        figure.colorbar(
            shown[k], ax=list(axes[k : k + 2]), label="km/s", shrink=0.8, extend=extend, pad=0.02
        )


def _calibration(ax: Axes, result: Result, place: str, color: str, what: str, unit: str) -> None:
    ax.set_title(f"calibration: {what}", fontsize="medium")
    measured = result.measured
    if f"{place}_calibration_std" not in measured:
        style.say(ax, "no spread")
        ax.set_axis_off()
        return
    std, error = (measured[f"{place}_calibration_{name}"].values for name in ("std", "error"))
    end = 1.06 * max(std.max(), error.max())
    ax.plot([0, end], [0, end], color=style.GREY, linestyle="--", label="error = std")
    label = f"{len(std)} bins, ratio {float(measured[f'{place}_calibration_ratio']):.2g}"
    ax.plot(std, error, "o-", color=color, markersize=4, linewidth=0.8, label=label)
    ax.locator_params(axis="x", nbins=4)
    ax.locator_params(axis="y", nbins=5)
    ax.set(xlim=(0, end), ylim=(0, end), xlabel=f"std{unit}", ylabel=f"|mean - truth|{unit}")
    ax.legend(frameon=False, fontsize="small")


def _caption(result: Result) -> str:
    said = {
        "velocity_rmse_mean": "error of the mean velocity {} km/s",
        "misfit": "misfit of draws {} (the noise is 1)",
        "pixel_calibration_ratio": "rms error over rms spread {} at the nodes",
        "coefficient_calibration_ratio": "{} of the coefficients",
    }
    numbers = [
        words.format(style.in_words(result.measured[name]))
        for name, words in said.items()
        if name in result.measured
    ]
    return (
        f"{style.named(result)}: velocity of the truth, of the posterior mean, its spread and "
        "error; misfit by step; error against spread, where the dashed line is right; draws among "
        f"the training examples. {'; '.join(numbers).capitalize()}."
    )


def _alt(result: Result, fields: Fields) -> str:
    trace = result.measured.get("misfit_trace_mean")
    fall = (
        ""
        if trace is None
        else (
            f" The misfit goes from {float(trace[0]):.3g} at step {int(trace['step'][0])} to "
            f"{float(trace[-1]):.3g} at step {int(trace['step'][-1])}."
        )
    )
    return (
        "Four maps of velocity and four panels of curves and dots. The spread is at most "
        f"{float(fields.std.max()):.2g} km/s, the error of the mean "
        f"{float(fields.error.max()):.2g} km/s.{fall}"
    )
