"""The finite-sample posterior: what a memorized prior becomes as its bandwidth vanishes.

    p(x | y)  ->  sum_n w_n delta(x - x_n),        w_n = softmax_n(log pi_n + log p(y | x_n)),

a lookup among the training examples, weighted by their likelihoods. It is exact for bandwidth 0
and the limit of the exact posterior of any operator for h -> 0.

Reference: Burns & Fridovich-Keil 2026, "When, why, and how do diffusion posterior samplers fail? A
finite-sample lens".
"""

from __future__ import annotations

from typing import ClassVar

import torch

from mempost.core.errors import PluginError
from mempost.core.mixture import MixturePrior
from mempost.core.problem import InverseProblem
from mempost.core.publication import Publication
from mempost.core.sampler import ExactSampler, require_finite
from mempost.plugins.bibliography import BURNS_2026_LENS
from mempost.plugins.samplers.discrete_posterior import DiscretePosterior

_ROWS = 256


class FiniteSampleWeights(ExactSampler):
    """The training examples, weighted by their likelihoods: the limit of vanishing bandwidth.

    Needs a mixture prior, of which it takes the means and weights; one evaluation of F a mean.
    """

    tags: ClassVar[frozenset[str]] = frozenset({"closed_form", "uses_noise_level"})
    publications: ClassVar[tuple[Publication, ...]] = (BURNS_2026_LENS,)

    def check(self, problem: InverseProblem) -> None:
        self._prior(problem)

    def posterior(self, problem: InverseProblem) -> DiscretePosterior:
        prior = self._prior(problem)
        parts = [problem.log_likelihood(x) for x in prior.means.split(_ROWS)]
        log_terms = prior.weights.log() + require_finite(torch.cat(parts), "log p(y | x_n)")
        return DiscretePosterior(
            atoms=prior.means,
            log_weights=torch.log_softmax(log_terms, 0),
            log_evidence=torch.logsumexp(log_terms, 0),
        )

    @staticmethod
    def _prior(problem: InverseProblem) -> MixturePrior:
        if not isinstance(problem.prior, MixturePrior):
            raise PluginError(
                "finite_sample_weights needs a mixture prior, whose means are the examples; found "
                f"{type(problem.prior).__name__}"
            )
        return problem.prior
