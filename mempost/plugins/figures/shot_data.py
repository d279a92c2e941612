"""Complex data of all sources and receivers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style, waves


class ShotData(Figure):
    """Observed data by source and receiver: real part, and misfit of the truth in noise units."""

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        problem = results[0].problem
        operator, m = waves.physics(results[0], "shot_data")
        observed = problem.y.reshape(operator.range_shape(operator.shape))
        residual = problem.y.flatten() - operator(m)[0].flatten()
        misfit = problem.gaussian("shot_data").standardise(residual).reshape(observed.shape)
        figure, axes = style.panels(len(operator.frequencies), 2, 3.6, 2.6, sharex="all")
        for k, frequency in enumerate(operator.frequencies):
            panels = (
                ("Re d", observed[k].real, waves.signed_limits(observed[k].real, 1.0)),
                ("Re misfit / noise", misfit[k].real, (-3.0, 3.0)),
            )
            for ax, (label, values, limits) in zip(axes[k], panels, strict=True):
                extent = (0.5, values.shape[1] + 0.5, values.shape[0] + 0.5, 0.5)
                shown = ax.imshow(
                    torch.as_tensor(values).detach().cpu().numpy(),
                    aspect="auto",
                    interpolation="nearest",
                    extent=extent,
                    cmap="RdBu_r",
                    vmin=limits[0],
                    vmax=limits[1],
                )
                ax.set_title(f"{frequency:g} Hz", fontsize="medium")
                ax.set_ylabel("source")
                ax.yaxis.get_major_locator().set_params(integer=True)
                figure.colorbar(shown, ax=ax, label=label)
        for ax in axes[-1]:
            ax.set_xlabel("receiver")
        hertz = ", ".join(f"{frequency:g}" for frequency in operator.frequencies)
        blank = "" if problem.noise.present is None else " Missing data are blank."
        caption = (
            f"Real part of the data at {hertz} Hz by source and receiver (left), and what the "
            f"truth leaves of them in units of the noise (right): noise of size 1.{blank}"
        )
        alt = (
            "Rows of two colour maps, receivers across and sources down: data with smooth stripes, "
            "misfits of the truth beside them."
        )
        yield Picture("shot_data", figure, caption, alt)
