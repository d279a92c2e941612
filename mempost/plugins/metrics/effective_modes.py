"""Effective number of modes of a posterior under a memorized prior.

    modes = exp(H),    H = -sum_n mass_n log mass_n

is N when all components are equally likely and 1 when the posterior has collapsed onto one (the
Hill number of order one; Hill 1973).
"""

from __future__ import annotations

import torch

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import HILL_1973_DIVERSITY
from mempost.methods.geometry.masses import component_masses


class EffectiveModes(Metric):
    """Exponential of the entropy of the component masses, and the largest mass.

    Columns ``effective_modes`` and ``max_mass``; equal components are one. Needs a prior that has
    components or keeps its examples.
    """

    publications = (HILL_1973_DIVERSITY,)

    def evaluate(self, result: Result) -> Measured:
        masses = component_masses(result)
        if masses is None:
            return Measured()
        entropy = torch.special.entr(masses).sum()
        return Measured({"effective_modes": entropy.exp(), "max_mass": masses.max()})
