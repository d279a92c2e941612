"""Error of the component masses against those of a reference.

    error = 1/2 sum_n |mass_n - mass_n^exact|

is the mass that sits on the wrong components, in [0, 1]. Masses that are means of responsibilities
over n draws carry Monte-Carlo error: the null is the error of n exact draws, by the bootstrap.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.geometry.masses import component_masses, responsibilities
from mempost.methods.statistics import bootstrap, intervals


class ModeMassError(Metric):
    """Posterior mass on the wrong components, against the masses of a reference sampler.

    Column ``mode_mass_error``; for samplers that only draw also ``_low``, ``_high`` and, where the
    reference has a posterior, ``_null`` (mean) and ``_null_high`` (95 %). Needs a prior that has
    components or keeps its examples.
    """

    reference: str = "exact"
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(200, ge=10, examples=[20])

    def evaluate(self, result: Result) -> Measured:
        reference, prior = result.sibling(self.reference), result.problem.prior
        exact, masses = component_masses(reference), component_masses(result)
        if exact is None or masses is None:
            return Measured()
        error = float(_misplaced(masses[None], exact)[0])
        if result.posterior is not None:
            return Measured({"mode_mass_error": error})

        x = result.samples.flat
        chains, draws = result.samples.values.shape[:2]

        def means(z: Tensor, chains: int, draws: int, tile: int) -> tuple[Tensor, Tensor]:
            """Mean responsibilities of draws z, and of their resamples."""
            stream = result.streams.at(tile=tile, step=bootstrap.STEP)
            counts = bootstrap.resampling_counts(chains, draws, self.resamples, stream)
            memberships = responsibilities(prior, z)
            return memberships.mean(0), counts.to(memberships) @ memberships / len(z)

        mean, resampled = means(x, chains, draws, tile=0)
        units = chains if chains > 1 else draws
        moved = _misplaced(resampled, mean)
        known = intervals.norm(error, moved, units, self.confidence).within(0, 1)
        found: dict[str, Variable] = {"mode_mass_error": known.variable}
        if reference.posterior is not None:
            drawn = reference.posterior.sample(len(x), result.streams)
            mean, resampled = means(drawn, 1, len(x), tile=1)
            null = _misplaced(resampled, mean)
            found["mode_mass_error_null"] = null.mean()
            found["mode_mass_error_null_high"] = torch.quantile(null, 0.95)
        return Measured(found)


def _misplaced(
    masses: Float[Tensor, "replicates n"], exact: Float[Tensor, " n"]
) -> Float[Tensor, " replicates"]:
    return 0.5 * (masses - exact).abs().sum(-1)
