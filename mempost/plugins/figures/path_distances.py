"""Distances of paths to the examples on which they end, against the noise level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style


class PathDistances(Figure):
    """|u - x*| against sigma on logarithmic axes, with the reference K sigma of the median K.

    Needs the metric ``convergence``. A panel for every sampler and point of the sweep.
    """

    most: int = Field(6, ge=1, description="panels at most, of sweep points evenly spaced")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        found = style.with_measured(results, "path_distance", "path_distances", "convergence")
        shown = [r for g in style.thinned(style.by_point(found), self.most) for r in g.values()]
        shown = shown[: self.most]
        rows, columns = style.grid_of(len(shown), 2 if len(shown) == 4 else 3)
        figure, axes = style.panels(rows, columns, 3.4, 3.0, extra=0.4, sharey="all")
        for ax in axes.flat[len(shown) :]:
            ax.set_axis_off()
        said = []
        for ax, result in zip(axes.flat, shown):
            distance = result.measured["path_distance"]
            sigma = distance["sigma"].values
            for k, row in enumerate(distance.values):
                label = "paths" if k == 0 else None
                ax.plot(sigma, row, color=style.BLUE, linewidth=0.6, alpha=0.5, label=label)
            constant = float(result.measured["convergence_constant"].sel(quantile=0.5))
            ax.plot(
                sigma, constant * sigma, "--", color=style.BLACK, linewidth=1.3, label=r"$K\sigma$"
            )
            ax.set(xscale="log", yscale="log", xlabel=r"noise level $\sigma$")
            ax.minorticks_off()
            ax.invert_xaxis()
            ax.set_title(style.named(result, "\n"), fontsize="small")
            ax.grid(True, which="major", color=style.LIGHT, linewidth=0.5)
            slopes = result.measured["convergence_slope"].values
            said.append(
                f"{style.named(result)}: slopes against -log sigma from {slopes.min():.6g} to "
                f"{slopes.max():.6g}, median K = {constant:.3g}"
            )
        every = np.concatenate([r.measured["path_distance"].values.ravel() for r in shown])
        axes[0, 0].set_ylim(bottom=max(float(every[every > 0].min()) / 2, 1e-9))
        for ax in axes[:, 0]:
            ax.set_ylabel(r"distance $|u - x_*|$")
        style.legend_above(figure, axes)
        text = "; ".join(said)
        caption = (
            "Distance of paths to the training example on which they end, against the noise level; "
            f"the dashed line is K sigma. {text}."
        )
        alt = f"Curves on logarithmic axes that fall along a dashed line of slope one. {text}."
        yield Picture("path_distances", figure, caption, alt)
