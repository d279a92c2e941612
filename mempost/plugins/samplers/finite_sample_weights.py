"""The finite-sample posterior: what a memorized prior becomes as its bandwidth vanishes.

    p(x | y)  ->  sum_n w_n delta(x - x_n),        w_n = softmax_n(log pi_n + log p(y | x_n)),

a lookup among the training examples, weighted by their likelihoods. It is exact for bandwidth 0
and the limit of the exact posterior of any operator for h -> 0.

With a ``bandwidth`` h of its own it is sum_n w_n N(x_n, h^2 I): what the flow of the conditional
score samples that is regularised by Tikhonov with c = h^2 (guidance ``regularised``), while h is
small against the distances of examples. The exact posterior under kernels of this bandwidth is
another mixture (``exact_lgm``), which sees the data within a component too.

Reference: Burns & Fridovich-Keil 2026, "When, why, and how do diffusion posterior samplers fail? A
finite-sample lens".
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from mempost.core.capabilities import Examples, HasComponents, HasExamples, ask, require
from mempost.core.problem import InverseProblem
from mempost.core.publication import Publication
from mempost.core.sampler import ExactSampler, require_possible
from mempost.methods.bibliography import BURNS_2026_LENS
from mempost.methods.posteriors.discrete_posterior import DiscretePosterior
from mempost.methods.posteriors.kernel_posterior import KernelPosterior


class FiniteSampleWeights(ExactSampler):
    """The training examples, weighted by their likelihoods: the limit of vanishing bandwidth.

    Takes the examples that the prior keeps, whatever the prior, or the means and weights of a
    mixture of atoms; one evaluation of F each. Refuses other priors. A ``bandwidth`` spreads every
    one of them afterwards, and is no part of the posterior.
    """

    tags = frozenset({"closed_form", "uses_noise_level"})
    publications: ClassVar[tuple[Publication, ...]] = (BURNS_2026_LENS,)

    bandwidth: float = Field(
        0.0, ge=0, description="h of a kernel about every example, after conditioning; 0 for none"
    )

    def check(self, problem: InverseProblem) -> None:
        self._examples(problem)

    def posterior(self, problem: InverseProblem) -> DiscretePosterior | KernelPosterior:
        x, weights = self._examples(problem)
        log_likelihood = require_possible(problem.log_likelihood_at(x), "log p(y | x_n)")
        log_terms = weights.log() + log_likelihood
        log_weights = torch.log_softmax(log_terms, 0).to(x.dtype)
        if self.bandwidth > 0:
            return KernelPosterior(x, log_weights, self.bandwidth)
        return DiscretePosterior(
            atoms=x,
            log_weights=log_weights,
            log_evidence=torch.logsumexp(log_terms, 0).to(x.dtype),
        )

    @staticmethod
    def _examples(problem: InverseProblem) -> Examples:
        if (kept := ask(problem.prior, HasExamples)) is not None:
            return kept.examples
        mixture = ask(problem.prior, HasComponents)
        if mixture is not None and _are_atoms(mixture):
            return Examples(mixture.means, mixture.weights)
        remedy = "exact_lgm takes Gaussian mixtures, and importance any prior with a density"
        return require(problem.prior, HasExamples, "finite_sample_weights", remedy).examples


def _are_atoms(mixture: HasComponents) -> bool:
    """Whether all covariances are zero."""
    index = torch.arange(len(mixture.weights), device=mixture.device)
    return all(not mixture.component_variances(part).any() for part in index.split(256))
