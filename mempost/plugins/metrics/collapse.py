"""Collapse onto training examples: how many share the posterior, and how near it stays to them.

The effective number exp(H) of component masses and the largest of them (see `effective_modes`), the
mean distance of draws to the nearest example, in units of the distance between neighbouring
examples (the median over examples of the distance to the nearest other one), and the scales at
which components are predicted to separate (see `separation`). Equal examples are one.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field

from mempost.core.capabilities import HasBandwidth, IsGaussian, ask
from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.geometry.masses import centres, component_masses
from mempost.methods.geometry.pairwise import nearest_distances
from mempost.methods.posteriors.component_updates import linearisations_of
from mempost.methods.posteriors.separation import Gaps


class Collapse(Metric):
    """Effective number of examples, mass on the best, distance of draws to the nearest example.

    Columns ``effective_number``, ``best_mass``, ``atom_distance`` (over the distance between
    neighbouring examples) and, under `empirical_gmm`, ``separation_bandwidth`` and
    ``separation_noise``: the bandwidth (at the given noise) and the noise std (at the given
    bandwidth) at which half of the mass is predicted to leave the example that made the data, with
    F linearised at the examples. Not there if no scale does that, or nothing is asked. Needs a
    prior that has components or keeps its examples.
    """

    examples: int = Field(
        32, ge=2, description="whose separation from all others is predicted, at most"
    )
    separation: bool = Field(True, description="predict; takes a Jacobian at every example")

    def evaluate(self, result: Result) -> Measured:
        masses, means = component_masses(result), centres(result.problem.prior)
        if masses is None or means is None or result.samples.truths is not None:
            return Measured()
        found = {
            "effective_number": float(torch.special.entr(masses).sum().exp()),
            "best_mass": float(masses.max()),
        }
        if len(means) > 1:
            neighbours = nearest_distances(means, means, 2)[0][:, 1].median()
            drawn = nearest_distances(result.samples.flat, means, 1)[0].mean()
            found["atom_distance"] = float(drawn / neighbours)
            if self.separation and result.problem.question is not None:
                found |= self._scales(result)
        return Measured(found)

    def _scales(self, result: Result) -> dict[str, float]:
        problem = result.problem
        prior, noise = ask(problem.prior, HasBandwidth), ask(problem.noise, IsGaussian)
        if prior is None or noise is None:
            return {}
        keep = result.sampler.preparations > 0  # its Jacobians are there
        gaps = Gaps.of(linearisations_of(problem, keep), self.examples)
        per_component = noise.component_std / noise.std
        scales = {
            "separation_bandwidth": gaps.bandwidth(noise.component_std),
            "separation_noise": gaps.noise(prior.bandwidth) / per_component,
        }
        return {name: value for name, value in scales.items() if math.isfinite(value)}
