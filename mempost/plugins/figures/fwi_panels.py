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
from mempost.plugins.bibliography import SIAHKOOHI_2026_MEMORIZATION
from mempost.plugins.figures import style, waves
from mempost.plugins.metrics.calibration_curve import (
    SpreadAndError,
    of_coefficients,
    velocity_moments,
)
from mempost.plugins.metrics.traced_misfit import traced_misfit
from mempost.plugins.wave_models import WaveModels

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
    one for velocities, one for std and error. The misfit is that of the denoised state of the first
    ``particles`` at the times in the sampler's ``trace``; 1 is the noise. Calibration shows bins of
    equal counts, of nodes and of coefficients, against the line where error equals spread.
    """

    publications = (SIAHKOOHI_2026_MEMORIZATION,)

    particles: int = Field(4, ge=1, description="whose misfit is averaged")
    pixel_bins: int = Field(30, ge=1, description="of equal counts")
    coefficient_bins: int = Field(10, ge=1, description="of equal counts")
    coefficients: tuple[int, int] = Field((0, 1), description="shown in the scatter, from 0")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
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
                yield Picture(name, drawn, self.summary(), self.summary())

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
        of_nodes = SpreadAndError(fields.std.flatten(), fields.error.flatten())
        _calibration(axes[1, 1], of_nodes, self.pixel_bins, color, "velocity", " (km/s)")
        of_z = of_coefficients(result)
        _calibration(axes[1, 2], of_z, self.coefficient_bins, color, "coefficients", "")
        self._scatter(axes[1, 3], result, color)
        title = ", ".join(
            part for part in (style.sampler_label(result.key), style.title_of(result.point)) if part
        )
        figure.suptitle(title, fontsize="large")
        return figure

    def _misfit(self, ax: Axes, result: Result, color: str) -> None:
        ax.set_title("misfit of the denoised state", fontsize="medium")
        found = traced_misfit(result, self.particles)
        if found is None:
            style.say(ax, "no trace")
            ax.set_axis_off()
            return
        mean = found.values.mean(1).numpy()
        ax.plot(found.steps, found.values.numpy(), color=color, linewidth=0.6, alpha=0.4)
        count = found.values.shape[1]
        ax.plot(found.steps, mean, color=color, marker="o", markersize=3, label=f"mean of {count}")
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


def _fields(result: Result) -> Fields:
    models = WaveModels.of(result.problem)
    if models is None:
        raise PluginError("fwi_panels draws problems with the operator helmholtz, this has none")
    if result.truth is None:
        raise PluginError("fwi_panels draws the truth, which is not known here")
    truth = models.velocity(result.truth[None])[0].double()
    mean, std = velocity_moments(models, result)
    return Fields(truth, mean, std, (mean - truth).abs())


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


def _calibration(
    ax: Axes, found: SpreadAndError | None, bins: int, color: str, what: str, unit: str
) -> None:
    ax.set_title(f"calibration: {what}", fontsize="medium")
    if found is None or not found.has_spread:
        style.say(ax, "no spread")
        ax.set_axis_off()
        return
    std, error = (values.cpu().numpy() for values in found.curve(bins))
    end = 1.06 * max(std.max(), error.max())
    ax.plot([0, end], [0, end], color=style.GREY, linestyle="--", label="error = std")
    label = f"{len(std)} bins, ratio {found.ratio:.2g}"
    ax.plot(std, error, "o-", color=color, markersize=4, linewidth=0.8, label=label)
    ax.locator_params(axis="x", nbins=4)
    ax.locator_params(axis="y", nbins=5)
    ax.set(xlim=(0, end), ylim=(0, end), xlabel=f"std{unit}", ylabel=f"|mean - truth|{unit}")
    ax.legend(frameon=False, fontsize="small")
