"""Training curves of learned priors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from mempost.core.capabilities import HasHistory, TrainingHistory, ask
from mempost.core.errors import PluginError
from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Curve(NamedTuple):
    """One training run: its history, name and look."""

    history: TrainingHistory
    label: str
    look: style.Look


class TrainingCurves(Figure):
    """Loss, learning rate and error by noise level of the learned priors of a study.

    One panel each: the mean loss of a block of steps; the learning rate; and the mean squared error
    of the denoiser on noised training examples against the noise level, over the last steps of
    training, in units of the variance of the data (1 is what the mean of the data achieves). The
    line of a level is the mean of its bin. Runs with the same history are drawn once.
    """

    last: float = Field(
        0.1, gt=0, le=1, description="share of the steps, from the end, in the error by level"
    )
    runs: int = Field(12, ge=1, description="training runs at most, evenly thinned")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        curves = _curves(results)
        if not curves:
            raise PluginError("training_curves draws learned priors, and this study has none")
        shown = np.unique(np.linspace(0, len(curves) - 1, self.runs).round().astype(int))
        figure, axes = style.panels(1, 3, 3.4, 2.7, extra=0.6)
        for curve in (curves[i] for i in shown):
            self._draw(axes[0], curve)
        loss, rate, error = axes[0]
        loss.set(xlabel="step", ylabel="loss", yscale="log")
        rate.set(xlabel="step", ylabel="learning rate", yscale="log")
        error.set(
            xlabel=r"noise level $\sigma = s/a$",
            ylabel=r"error of the denoiser / $\sigma_\mathrm{data}^2$",
            xscale="log",
            yscale="log",
        )
        style.legend_above(figure, axes)
        said = "; ".join(_in_words(curves[i]) for i in shown)
        caption = (
            "Training loss, learning rate, and error of the denoiser by noise level in units of "
            f"the variance of the data over the last {self.last:.0%} of the steps. Loss: {said}."
        )
        alt = f"Three panels of curves on logarithmic axes, one for every training. Loss: {said}."
        yield Picture("training_curves", figure, caption, alt)

    def _draw(self, axes: Sequence[Axes], curve: Curve) -> None:
        loss, rate, error = axes
        history = {name: values.numpy() for name, values in curve.history.curves.items()}
        look = curve.look._asdict()
        loss.plot(history["step"], history["loss"], label=curve.label, linewidth=1.0, **look)
        rate.plot(history["step"], history["learning_rate"], label=curve.label, **look)
        steps = history["step"]
        late = history["level_error"][steps >= steps[-1] * (1 - self.last)]
        measured = ~np.isnan(late).all(0)
        middles = (curve.history.edges[1:] * curve.history.edges[:-1]).sqrt().numpy()
        means = np.nanmean(late[:, measured], 0)
        error.plot(middles[measured], means, marker=".", label=curve.label, **look)


def _in_words(curve: Curve) -> str:
    """The loss that was recorded first and last."""
    step, loss = (curve.history.curves[name] for name in ("step", "loss"))
    ends = [f"{float(loss[i]):.3g} at step {int(step[i])}" for i in (0, -1)]
    return f"{curve.label.replace('$', '')} {' to '.join(ends)}"


def _curves(results: Sequence[Result]) -> list[Curve]:
    """The training runs of a study, each once, in order."""
    looks = style.looks(results)
    points = len(style.by_point(results))
    found: dict[bytes, tuple[Result, TrainingHistory]] = {}
    for result in results:
        prior = ask(result.problem.prior, HasHistory)
        if prior is not None:
            content = b"".join(c.numpy().tobytes() for c in prior.history.curves.values())
            found.setdefault(content, (result, prior.history))
    keys = dict.fromkeys(result.key for result, _ in found.values())
    shades = {key: style.shades(looks[key].color, points) for key in keys}
    used = dict.fromkeys(keys, 0)
    curves = []
    for result, history in found.values():
        names = [style.sampler_label(result.key)] if len(keys) > 1 else []
        names += [title] if (title := style.title_of(result.point)) else []
        color = shades[result.key][used[result.key]]
        used[result.key] += 1
        label = ", ".join(names) or "training"
        curves.append(Curve(history, label, style.Look(color, looks[result.key].linestyle)))
    return curves
