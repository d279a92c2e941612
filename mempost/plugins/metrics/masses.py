"""Component masses: the posterior probability that component n of the prior generated x.

    mass_n = E[w_n(x) | y],    w_n(x) = pi_n N(x; m_n, C_n) / sum_k pi_k N(x; m_k, C_k)

For a memorized prior the components are the training examples, and the masses say which of them
the posterior remembers. Atoms (C_n = 0) have no densities; the limit of w_n is taken, which is 1
for the nearest mean and 0 for the others.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.mixture import MixturePrior
from mempost.core.result import Result
from mempost.plugins.metrics.pairwise import nearest_distances

_BLOCK = 2**22


def responsibilities(prior: MixturePrior, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch n"]:
    """w_n(x), a block of rows at a time; that of the nearest mean is 1 where means are atoms."""
    rows = max(1, _BLOCK // len(prior.weights))
    try:
        return torch.cat([prior.responsibilities(block) for block in x.split(rows)])
    except PluginError:  # atoms have no densities
        _, nearest = nearest_distances(x, prior.means, 1)
        return torch.nn.functional.one_hot(nearest[:, 0], len(prior.weights)).to(x)


def component_masses(result: Result) -> Float[Tensor, " n"] | None:
    """Posterior weights of a mixture, else integrated or averaged responsibilities.

    None if the prior is not a mixture.
    """
    prior, posterior = result.problem.prior, result.posterior
    if not isinstance(prior, MixturePrior):
        return None
    if posterior is not None:
        if posterior.weights is not None:
            return posterior.weights
        try:
            return posterior.expectation(prior.responsibilities)
        except PluginError:
            pass
    return responsibilities(prior, result.samples.flat).mean(0)
