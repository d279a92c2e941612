"""Where draws of a flow end: on a training example, on a face between examples, or elsewhere.

See `mempost.methods.geometry.limit_points`. Where the prior knows the law of its flow's ends
(`HasLimitLaw`) the share that it gives stands beside the share that was found, and the same share
of held-out examples beside both. The law is that of a flow which is followed to vanishing noise.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from mempost.core.capabilities import HasExamples, HasLimitLaw, ask
from mempost.core.measured import Measured, Variable, bounds
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.drawing import style
from mempost.methods.geometry.distinct import Distinct
from mempost.methods.geometry.limit_points import LimitPoints
from mempost.methods.geometry.pairwise import nearest_distances
from mempost.methods.statistics.intervals import rate_of

QUANTILES = (0.05, 0.5, 0.95)


class LimitPoint(Metric):
    """Shares of draws on an example, on a face of Voronoi cells, and elsewhere.

    Columns ``on_point``, ``on_face``, ``elsewhere`` with exact binomial intervals; ``on_point_law``
    where the prior knows it, and ``on_point_held_out``, the share of held-out examples that lie on
    a training example by the same tolerance; ``limit_distance_q``, quantiles of the distance to the
    nearest example; ``ends_on_i+j``, the number of draws on the face of the examples i, j, .... For
    pictures the nearest example of every draw (of copies the first), how many draws end on
    every example, and its weight. In the prior's coordinates.
    """

    publications = (BAPTISTA_2025_MEMORIZATION,)

    tolerance: float = Field(1e-2, gt=0, description="distance below which a draw is an example")
    face_tolerance: float = Field(
        1e-6, gt=0, description="relative difference of squared distances that counts as none"
    )
    confidence: float = Field(0.95, gt=0, lt=1)

    def evaluate(self, result: Result) -> Measured:
        prior = ask(result.problem.prior, HasExamples)
        if prior is None or result.samples.truths is not None:
            return Measured()
        examples, weights = prior.examples
        distinct = Distinct.of(examples)
        points, ends = examples[distinct.first], result.samples.flat
        limits = LimitPoints.of(ends, points, self.tolerance, self.face_tolerance)
        n, on_point, on_face = len(ends), int(limits.on_point.sum()), int(limits.on_face.sum())
        found: dict[str, Variable] = {
            "on_point": rate_of(on_point / n, n, self.confidence).variable,
            "on_face": rate_of(on_face / n, n, self.confidence).variable,
            "elsewhere": rate_of((n - on_point - on_face) / n, n, self.confidence).variable,
            "limit_distance": ("quantile", torch.quantile(limits.distance, _double(QUANTILES))),
        }
        law = ask(result.problem.prior, HasLimitLaw)
        if law is not None:
            found["on_point_law"] = law.limit_law(self.tolerance)
        if result.data is not None and len(result.data.held_out) > 0:
            held_out = nearest_distances(result.data.held_out.flatten(1), points, 1)[0]
            close = int((held_out < self.tolerance).sum())
            found["on_point_held_out"] = rate_of(
                close / len(held_out), len(held_out), self.confidence
            ).variable
        numbers = distinct.first.tolist()
        faces = {"+".join(str(numbers[i]) for i in f): k for f, k in limits.faces().items()}
        if faces:
            found["ends_on"] = ("face", list(faces.values()))
        ended = torch.bincount(limits.nearest[limits.on_point], minlength=len(points))
        drawn: dict[str, Variable] = {
            "limit_nearest": ("draw", distinct.first[limits.nearest]),
            "limit_count": ("point", ended),
            "limit_weight": ("point", distinct.total(weights)),
        }
        axes = {"quantile": QUANTILES, "face": list(faces), "point": numbers}
        return Measured(found | drawn, axes, unlisted=drawn)

    def verdict(self, results: Sequence[Result]) -> list[str]:
        return [self._sentence(result) for result in results if "on_point" in result.measured]

    def _sentence(self, result: Result) -> str:
        found = result.measured
        law = f" (law {float(found['on_point_law']):.3g})" if "on_point_law" in found else ""
        between, _, _ = bounds(found["on_face"])
        faces = f", {between:.3g} on faces between them" if between else ""
        return (
            f"{style.named(result)}: a share {style.in_words(found['on_point'])} ends within "
            f"{self.tolerance:g} of a training example{law}{faces}."
        )


def _double(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
