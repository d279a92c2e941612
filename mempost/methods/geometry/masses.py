"""Component masses: the posterior probability that component n of the prior generated x.

    mass_n = E[w_n(x) | y],    w_n(x) = pi_n N(x; m_n, C_n) / sum_k pi_k N(x; m_k, C_k)

For a memorized prior the components are the training examples, and the masses say which of them
the posterior remembers. Atoms (C_n = 0) have no densities; the limit of w_n is taken, which is 1
for the nearest mean and 0 for the others. A prior that is no mixture and keeps its training
examples is treated likewise: mass_n is the probability that example n is the nearest one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import (
    CanIntegrate,
    HasComponents,
    HasDensity,
    HasExamples,
    HasWeights,
    ask,
)
from mempost.core.errors import PluginError
from mempost.core.result import Result
from mempost.methods.geometry.pairwise import nearest_distances

_BLOCK = 2**22


def centres(prior: object) -> Float[Tensor, "n d"] | None:
    """Means of the prior's components, or else its training examples; None if it has neither."""
    if (mixture := ask(prior, HasComponents)) is not None:
        return mixture.means
    kept = ask(prior, HasExamples)
    return None if kept is None else kept.examples.x


def responsibilities(prior: object, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch n"]:
    """w_n(x), a block of rows at a time; 1 for the nearest of the `centres` without densities.

    Raises:
        PluginError: the prior has neither components nor examples.
    """
    mixture = ask(prior, HasComponents)
    if mixture is not None and ask(prior, HasDensity) is not None:
        rows = max(1, _BLOCK // len(mixture.weights))
        return torch.cat([mixture.responsibilities(block) for block in x.split(rows)])
    points = centres(prior)
    if points is None:
        raise PluginError(f"{type(prior).__name__} has neither components nor training examples")
    _, nearest = nearest_distances(x, points, 1)
    return torch.nn.functional.one_hot(nearest[:, 0], len(points)).to(x)


def component_masses(result: Result) -> Float[Tensor, " n"] | None:
    """Posterior weights of components or examples, else integrated or averaged responsibilities.

    None if the prior has neither components nor examples.
    """
    prior, posterior = result.problem.prior, result.posterior
    points = centres(prior)
    if points is None:
        return None
    weighted = ask(posterior, HasWeights)
    if weighted is not None and len(weighted.weights) == len(points):
        return weighted.weights
    if (integral := ask(posterior, CanIntegrate)) is not None:
        return integral.expectation(lambda x: responsibilities(prior, x))
    return responsibilities(prior, result.samples.flat).mean(0)
