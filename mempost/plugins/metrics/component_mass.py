"""Posterior probability of each component of a mixture prior (see `masses`)."""

from __future__ import annotations

from pydantic import Field

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.geometry.masses import component_masses, kinds


class ComponentMass(Metric):
    """Posterior probability that component i of the prior generated x: ``mass_i``.

    The weights of a mixture posterior, integrated responsibilities under quadrature, mean
    responsibilities over samples otherwise. Equal components have one mass in all, and the number
    of the first. Needs a prior that has components or keeps its examples.
    """

    limit: int = Field(10, ge=1, description="components in the table, from the first")

    def evaluate(self, result: Result) -> Measured:
        masses, distinct = component_masses(result), kinds(result.problem.prior)
        if masses is None or distinct is None:
            return Measured()
        numbers = distinct.first.tolist()
        return Measured(
            {"mass": ("component", masses)},
            {"component": numbers},
            columns={"component": numbers[: self.limit]},
        )
