"""Norms of the score at points off the data against the noise level, beside the exact score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from mempost.core.figure import Figure, Picture
from mempost.core.result import Result
from mempost.methods.drawing import style


class ScoreNorms(Figure):
    """The norm of the score at every point, a panel a point, a curve for every prior.

    Needs the metric ``score_growth``. Priors differ by sampler or by point of the sweep; the exact
    score of the training set is black.
    """

    most: int = Field(9, ge=1, description="curves at most, of sweep points evenly spaced")

    def draw(self, results: Sequence[Result]) -> Iterator[Picture]:
        found = style.with_measured(results, "score_norm", "score_norms", "score_growth")
        groups = style.thinned(style.by_point(found), self.most)
        shown = [r for group in groups for r in _different(group)][: self.most]
        places = len(shown[0].measured["score_norm"])
        rows, columns = style.grid_of(places, 2)
        figure, axes = style.panels(rows, columns, 3.2, 2.6, extra=0.5, sharex="all", sharey="all")
        for ax in axes.flat[places:]:
            ax.set_axis_off()
        said = []
        for result, colour in zip(shown, style.sequence(len(shown))):
            norms = result.measured["score_norm"]
            label = style.title_of(result.point) or style.sampler_label(result.key)
            if sum(r.point == result.point for r in shown) > 1:
                label = style.named(result, ", ")
            for ax, row in zip(axes.flat, norms.values):
                ax.plot(norms["sigma"], row, color=colour, label=label)
            growth = float(result.measured["score_growth"])
            said.append(f"{label.replace('$', '')} grows like sigma^{growth:.3g}")
        exact = shown[0].measured.get("exact_score_norm")
        if exact is not None:
            for ax, row in zip(axes.flat, exact.values):
                ax.plot(exact["sigma"], row, "--", color=style.BLACK, label="exact score")
        for k, ax in enumerate(axes.flat[:places]):
            ax.set(xscale="log", yscale="log")
            ax.minorticks_off()
            ax.set_title(f"point {k + 1}", fontsize="small")
            ax.grid(True, which="major", color=style.LIGHT, linewidth=0.5)
        for ax in axes[-1]:
            ax.set_xlabel(r"noise level $\sigma$")
        for ax in axes[:, 0]:
            ax.set_ylabel("norm of the score")
        axes[0, 0].invert_xaxis()
        style.legend_above(figure, axes)
        text = "; ".join(said)
        caption = f"Norm of the score at {places} points off the training data: {text}."
        alt = f"Curves on logarithmic axes over a falling noise level: {text}."
        yield Picture("score_norms", figure, caption, alt)


def _different(group: Mapping[str, Result]) -> list[Result]:
    """Results of priors that differ: the samplers of one prior have one score."""
    found: list[Result] = []
    for result in group.values():
        norms = result.measured["score_norm"]
        if not any(norms.equals(other.measured["score_norm"]) for other in found):
            found.append(result)
    return found
