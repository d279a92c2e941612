"""The linearised Gaussian mixture posterior (see `linearised_mixture` for the equations).

Each component of a mixture prior is conditioned on the data with F linearised at the component's
mean, and reweighted by its marginal likelihood N(y; F(x_n), J_n C_n J_n^T + noise). The
log-determinant of that covariance belongs to the weight: components where F is steep explain the
data less easily. Without it the weights are right only where all J_n C_n J_n^T are equal.

References: Siahkoohi & Sabeddu 2026, "On the role of memorization in learned priors for geophysical
inverse problems"; Sorenson & Alspach 1971, "Recursive Bayesian estimation using Gaussian sums".
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from mempost.core.plugin import Reference
from mempost.core.problem import InverseProblem
from mempost.core.sampler import ExactSampler
from mempost.plugins.samplers.linearised_mixture import LinearisedMixture, mixture_of


class ExactLGM(ExactSampler):
    """The linearised mixture: exact for linear operators, an approximation for others.

    Needs a mixture prior. One Jacobian a component, or one in all for a linear operator.
    """

    tags: ClassVar[frozenset[str]] = frozenset(
        {"closed_form", "needs_gradient", "uses_noise_level"}
    )
    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "siahkoohi2026memorization",
            "Siahkoohi and Sabeddu",
            "On the role of memorization in learned priors for geophysical inverse problems",
            2026,
            "https://arxiv.org/abs/2603.19629",
        ),
        Reference(
            "sorenson1971recursive",
            "Sorenson, Harold W. and Alspach, Daniel L.",
            "Recursive Bayesian estimation using Gaussian sums",
            1971,
            "https://doi.org/10.1016/0005-1098(71)90097-5",
        ),
    )

    log_determinant: bool = Field(
        True, description="keep the log-determinant in the weights; False shows what it does"
    )

    def check(self, problem: InverseProblem) -> None:
        mixture_of(problem)

    def posterior(self, problem: InverseProblem) -> LinearisedMixture:
        return LinearisedMixture.of(problem, self.log_determinant)
