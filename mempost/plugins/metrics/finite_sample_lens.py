"""The finite-sample lens: a sampler's law of z_t given y against the exact one, level by level.

A sampler can end on the right modes and be wrong on the way there, or the other way round. The lens
compares at every level that the sampler's ``trace`` names (see `particle_law`), and at the end:

    mass            posterior probability of each component of the prior (see `masses`)
    hallucinated    mass on components whose exact mass is below ``threshold``
    off-atom        share of draws that are no copy of an atom: d_1 > d_2 / 3 with the distances
                    to the nearest and the second nearest one (only where the prior is atoms)

Reference: Burns & Fridovich-Keil 2026, "When, why, and how do diffusion posterior samplers fail? A
finite-sample lens".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from mempost.core.capabilities import HasComponents, ask
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.plugins.bibliography import BURNS_2026_LENS
from mempost.plugins.metrics.lens_verdict import Thresholds, sentence
from mempost.plugins.metrics.masses import component_masses
from mempost.plugins.metrics.pairwise import nearest_distances
from mempost.plugins.metrics.particle_law import particle_laws


class FiniteSampleLens(Metric):
    """Spread, bias and distance of z_t given y against the exact law, and masses on wrong modes.

    Columns for every time t in ``times`` that the sampler traces: ``spread_<t>``,
    ``spread_exact_<t>``, ``bias_<t>``, ``w1_<t>``, ``w1_null_<t>``. At the end: ``mass_i`` and
    ``mass_exact_i``, ``hallucinated_mass`` and ``hallucinated_mass_exact``, ``off_atom_mass``. Any
    sampler that ends with draws gets the latter. The reference must have a posterior in closed
    form.
    """

    publications = (BURNS_2026_LENS,)

    reference: str = "exact"
    times: tuple[float, ...] | None = Field(
        None, description="times to write columns for; null: all that the sampler traces"
    )
    threshold: float = Field(
        1e-3, gt=0, lt=1, description="exact mass under which a component counts as wrong"
    )
    limit: int = Field(10, ge=0, description="components written, from the first")
    draws: int = Field(4000, ge=2, description="particles in sliced distances, at most")
    directions: int = Field(64, ge=1, description="of sliced distances")
    agreement: float = Field(
        0.02, gt=0, description="error of spread or bias that the verdict takes for none"
    )
    mild: float = Field(0.15, gt=0, description="error of spread that the verdict calls mild")

    def evaluate(self, result: Result) -> dict[str, float]:
        columns: dict[str, float] = {}
        for law in particle_laws(result, self.reference, self.times):
            w1, null = law.distances(result.streams, self.draws, self.directions)
            columns |= {
                f"spread_{law.t:g}": law.spread,
                f"spread_exact_{law.t:g}": law.exact_spread,
                f"bias_{law.t:g}": law.bias,
                f"w1_{law.t:g}": w1,
                f"w1_null_{law.t:g}": null,
            }
        return columns | self._masses(result) | _off_atom(result)

    def _masses(self, result: Result) -> dict[str, float]:
        masses = component_masses(result)
        exact = component_masses(result.sibling(self.reference))
        if masses is None or exact is None:
            return {}
        columns = {f"mass_{i}": float(m) for i, m in enumerate(masses[: self.limit])}
        columns |= {f"mass_exact_{i}": float(m) for i, m in enumerate(exact[: self.limit])}
        wrong = exact < self.threshold
        columns["hallucinated_mass"] = float(masses[wrong].sum())
        columns["hallucinated_mass_exact"] = float(exact[wrong].sum())
        return columns

    def verdict(self, results: Sequence[Result]) -> list[str]:
        thresholds = Thresholds(self.agreement, self.mild, self.threshold)
        said = [sentence(result, thresholds) for result in results]
        return [line for line in said if line is not None]


def _off_atom(result: Result) -> dict[str, float]:
    prior = ask(result.problem.prior, HasComponents)
    if prior is None or len(prior.means) < 2:
        return {}
    if bool((prior.component_variances(torch.zeros(1, dtype=torch.long)) > 0).any()):
        return {}
    distances, _ = nearest_distances(result.samples.flat, prior.means, 2)
    return {"off_atom_mass": float((distances[:, 0] > distances[:, 1] / 3).double().mean())}
