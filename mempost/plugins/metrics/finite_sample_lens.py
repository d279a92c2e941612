"""The finite-sample lens: a sampler's law of z_t given y against the exact one, level by level.

A sampler can end on the right modes and be wrong on the way there, or the other way round. The lens
compares at every level that the sampler's ``trace`` names (see `particle_law`), and at the end:

    mass            posterior probability of each component of the prior (see `masses`: equal
                    ones are one, with the number of the first)
    hallucinated    mass on components whose exact mass is below ``threshold``
    off-atom        share of draws that are no copy of an atom: d_1 > d_2 / 3 with the distances
                    to the nearest and the second nearest one (only where the prior is atoms)

Reference: Burns & Fridovich-Keil 2026, "When, why, and how do diffusion posterior samplers fail? A
finite-sample lens".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from pydantic import Field

from mempost.core.capabilities import CanIntegrate, HasComponents, ask
from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import BURNS_2026_LENS
from mempost.methods.geometry.masses import centres, component_masses, kinds
from mempost.methods.geometry.pairwise import nearest_distances
from mempost.methods.statistics.lens_verdict import Thresholds, sentence
from mempost.methods.statistics.particle_law import ParticleLaw, particle_laws

GRID = 301
"""Points of the exact distribution function that is kept for pictures."""


class FiniteSampleLens(Metric):
    """Spread, bias and distance of z_t given y against the exact law, and masses on wrong modes.

    Along the axis ``level``, the times t that the sampler traces: ``spread``, ``spread_exact``,
    ``bias``, ``w1``, ``w1_null``; the table has the columns ``spread_<t>``, ... of those in
    ``times``. At the end: ``mass_i`` and ``mass_exact_i``, ``hallucinated_mass`` and
    ``hallucinated_mass_exact``, ``off_atom_mass``. Any sampler that ends with draws gets the
    latter. The reference must have a posterior in closed form.
    """

    publications = (BURNS_2026_LENS,)

    reference: str = "exact"
    times: tuple[float, ...] | None = Field(
        None, description="times in the table; null: all that the sampler traces"
    )
    threshold: float = Field(
        1e-3, gt=0, lt=1, description="exact mass under which a component counts as wrong"
    )
    limit: int = Field(10, ge=0, description="components in the table, from the first")
    draws: int = Field(4000, ge=2, description="particles in sliced distances, at most")
    directions: int = Field(64, ge=1, description="of sliced distances")
    agreement: float = Field(
        0.02, gt=0, description="error of spread or bias that the verdict takes for none"
    )
    mild: float = Field(0.15, gt=0, description="error of spread that the verdict calls mild")

    def evaluate(self, result: Result) -> Measured:
        laws = sorted(particle_laws(result, self.reference), key=lambda law: -law.t)
        along: dict[str, Variable] = {}
        if laws:
            distances = [law.distances(result.streams, self.draws, self.directions) for law in laws]
            w1, null = zip(*distances, strict=True)
            found = {
                "spread": [law.spread for law in laws],
                "spread_exact": [law.exact_spread for law in laws],
                "bias": [law.bias for law in laws],
                "w1": w1,
                "w1_null": null,
            }
            along = {name: ("level", list(values)) for name, values in found.items()}
        drawn = _pictured(laws) if laws and result.problem.dimension == 1 else {}
        masses, distinct = self._masses(result), kinds(result.problem.prior)
        numbers = distinct.first.tolist() if masses and distinct is not None else []
        listed: dict[str, Collection[float]] = {"component": numbers[: self.limit]}
        if self.times is not None:
            listed["level"] = self.times
        return Measured(
            along | drawn | masses | _off_atom(result),
            {"level": [law.t for law in laws], "component": numbers},
            columns=listed,
            unlisted=drawn,
        )

    def _masses(self, result: Result) -> dict[str, Variable]:
        masses = component_masses(result)
        exact = component_masses(result.sibling(self.reference))
        if masses is None or exact is None:
            return {}
        wrong = exact < self.threshold
        return {
            "mass": ("component", masses),
            "mass_exact": ("component", exact),
            "hallucinated_mass": masses[wrong].sum(),
            "hallucinated_mass_exact": exact[wrong].sum(),
        }

    def verdict(self, results: Sequence[Result]) -> list[str]:
        thresholds = Thresholds(self.agreement, self.mild, self.threshold)
        said = [sentence(result, thresholds) for result in results]
        return [line for line in said if line is not None]


def _pictured(laws: Sequence[ParticleLaw]) -> dict[str, Variable]:
    """In one dimension: both means, and the exact distribution function on a grid at every level.

    It is not there where the reference can only draw.
    """
    found: dict[str, Variable] = {
        "lens_mean": ("level", [float(law.mean[0]) for law in laws]),
        "lens_mean_exact": ("level", [float(law.exact.mean()[0]) for law in laws]),
    }
    if ask(laws[0].exact.posterior, CanIntegrate) is None:
        return found
    grids = [torch.linspace(*law.window, GRID).to(law.particles) for law in laws]
    cdf = torch.stack([law.exact.cdf(grid) for law, grid in zip(laws, grids)])
    return found | {
        "lens_grid": (("level", "grid"), torch.stack(grids)),
        "lens_cdf_exact": (("level", "grid"), cdf),
    }


def _off_atom(result: Result) -> dict[str, Variable]:
    prior, atoms = ask(result.problem.prior, HasComponents), centres(result.problem.prior)
    if prior is None or atoms is None or len(atoms) < 2:
        return {}
    if bool((prior.component_variances(torch.zeros(1, dtype=torch.long)) > 0).any()):
        return {}
    distances, _ = nearest_distances(result.samples.flat, atoms, 2)
    return {"off_atom_mass": (distances[:, 0] > distances[:, 1] / 3).double().mean()}
