"""Dominance bandwidth: below it the likelihood no longer reaches between training points.

In one dimension, with delta the mean spacing of the training points that differ,

    h_crit = sqrt(delta gamma / mean_n |F'(x_n)|)

is the geometric mean of the spacing of the components and of the width gamma/|F'| of the likelihood
in x. A prior bandwidth well below it lets single training examples dominate the posterior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from mempost.core.measured import Measured
from mempost.core.metric import Metric, Subject
from mempost.core.result import PointResults
from mempost.methods.bibliography import SIAHKOOHI_2026_MEMORIZATION
from mempost.methods.geometry.distinct import Distinct


class DominanceBandwidth(Metric):
    """Bandwidth under which single training points dominate a 1-D posterior.

    Column ``dominance_bandwidth``, in the prior's coordinates; nothing for more than one dimension
    or fewer than two distinct training points.
    """

    publications = (SIAHKOOHI_2026_MEMORIZATION,)
    needs_question = True

    subject: ClassVar[Subject] = "point"

    def needs(self, samplers: Sequence[str]) -> tuple[str, ...]:
        """No sampler: it is the problem that is measured."""
        return ()

    def evaluate(self, point: PointResults) -> Measured:
        if point.data is None or point.problem.dimension != 1:
            return Measured()
        x = point.data.train.flatten(1)
        x = x[Distinct.of(x).first]
        spacing = float(x.max() - x.min()) / max(1, len(x) - 1)
        _, jacobian = point.problem.linearise(x)  # F' in units of the noise
        slope = float(jacobian.flatten(1).norm(dim=1).mean())
        if spacing == 0 or slope == 0:
            return Measured()
        return Measured({"dominance_bandwidth": math.sqrt(spacing / slope)})
