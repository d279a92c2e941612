"""The linearised Gaussian mixture posterior (see `linearised_mixture` for the equations).

Each component of a mixture prior is conditioned on the data with F linearised at the component's
mean, and reweighted by its marginal likelihood N(y; F(x_n), J_n C_n J_n^T + noise). The
log-determinant of that covariance belongs to the weight: components where F is steep explain the
data less easily. Without it the weights are right only where all J_n C_n J_n^T are equal.

Jacobians at the means depend neither on the data nor on noise level and bandwidth. They are
remembered within the process; with ``slices`` above 1 they are also kept on disk, computed in as
many parts by as many workers as there are, and every other problem with the same operator and means
finds them there. Keeping pays where a Jacobian costs more than reading m d numbers (milliseconds).

``relinearise: map`` linearises every component at its own mode instead (see `map_points`). No
component is left out: how much the search will lift a weight is not bounded by what is known at the
mean.

References: Siahkoohi & Sabeddu 2026, "On the role of memorization in learned priors for geophysical
inverse problems"; Sorenson & Alspach 1971, "Recursive Bayesian estimation using Gaussian sums".
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.publication import Publication
from mempost.core.sampler import ExactSampler
from mempost.methods.bibliography import SIAHKOOHI_2026_MEMORIZATION, SORENSON_1971_RECURSIVE
from mempost.methods.posteriors.component_updates import linearisations_of, mixture_of
from mempost.methods.posteriors.linearised_mixture import LinearisedMixture
from mempost.methods.posteriors.map_points import MapSearch


class ExactLGM(ExactSampler):
    """The linearised mixture: exact for linear operators, an approximation for others.

    Needs a mixture prior. One Jacobian a component, or one in all for a linear operator.
    """

    tags = frozenset({"closed_form", "needs_gradient", "uses_noise_level"})
    publications: ClassVar[tuple[Publication, ...]] = (
        SIAHKOOHI_2026_MEMORIZATION,
        SORENSON_1971_RECURSIVE,
    )

    log_determinant: bool = Field(
        True, description="keep the log-determinant in the weights; False shows what it does"
    )
    relinearise: Literal["map"] | None = Field(
        None, description="map: linearise every component at its mode instead of its mean"
    )
    iterations: int = Field(20, ge=1, description="of the search for a mode, at most")
    tolerance: float = Field(
        1e-3, gt=0, description="nats; a step that promises less ends the search for a mode"
    )
    slices: int = Field(
        1,
        ge=1,
        description="parts in which the Jacobians are computed and kept, spread over workers",
    )

    def check(self, problem: InverseProblem) -> None:
        mixture_of(problem)
        problem.gaussian("exact_lgm")

    @property
    def preparations(self) -> int:
        return self.slices if self.slices > 1 else 0

    def prepare(self, problem: InverseProblem, part: int, progress: Progress = silent) -> None:
        if problem.operator.is_linear:
            return
        if self.relinearise is None:
            linearisations_of(problem, keep=True).prepare(part, self.slices, progress)
            return
        search = self._search()
        for index in search.blocks(problem)[part :: self.slices]:
            search.prepare(problem, index, progress)

    def posterior(self, problem: InverseProblem) -> LinearisedMixture:
        if self.relinearise is None or problem.operator.is_linear:
            return LinearisedMixture.of(problem, self.log_determinant, self.slices > 1)
        search = self._search()
        parts = (search.updates(problem, index) for index in search.blocks(problem))
        return LinearisedMixture.join(problem, parts, self.log_determinant)

    def _search(self) -> MapSearch:
        return MapSearch(self.iterations, self.tolerance, keep=self.slices > 1)
