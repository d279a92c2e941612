"""Component masses: the posterior probability that component n of the prior generated x.

    mass_n = E[w_n(x) | y],    w_n(x) = pi_n N(x; m_n, C_n) / sum_k pi_k N(x; m_k, C_k)

For a memorized prior the components are the training examples, and the masses say which of them
the posterior remembers. Atoms (C_n = 0) have no densities; the limit of w_n is taken, which is 1
for the nearest mean and 0 for the others. A prior that is no mixture and keeps its training
examples is treated likewise: mass_n is the probability that example n is the nearest one.

Equal components are one (see `distinct`): an example that stands ten times in the training set has
one mass, the sum of ten. So n counts the components that differ, in the order in which they appear.
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
from mempost.methods.geometry.distinct import Distinct, distinct_components
from mempost.methods.geometry.pairwise import nearest_distances

_BLOCK = 2**22


def kinds(prior: object) -> Distinct | None:
    """The components that differ, or else the training examples; None if it has neither."""
    if (mixture := ask(prior, HasComponents)) is not None:
        return distinct_components(mixture)
    kept = ask(prior, HasExamples)
    return None if kept is None else Distinct.of(kept.examples.x)


def centres(prior: object) -> Float[Tensor, "n d"] | None:
    """Points that differ among the means of the components, or else the training examples."""
    points = _points(prior)
    return None if points is None else points[Distinct.of(points).first]


def responsibilities(prior: object, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch n"]:
    """w_n(x), a block of rows at a time; 1 for the nearest of the points without densities.

    Raises:
        PluginError: the prior has neither components nor examples.
    """
    mixture, distinct, points = ask(prior, HasComponents), kinds(prior), _points(prior)
    if points is None or distinct is None:
        raise PluginError(f"{type(prior).__name__} has neither components nor training examples")
    if mixture is not None and ask(prior, HasDensity) is not None:
        blocks = x.split(max(1, _BLOCK // len(points)))
        return torch.cat([distinct.total(mixture.responsibilities(block)) for block in blocks])
    _, nearest = nearest_distances(x, points[distinct.first], 1)
    return torch.nn.functional.one_hot(nearest[:, 0], len(distinct)).to(x)


def _points(prior: object) -> Float[Tensor, "n d"] | None:
    """Means of components, or else training examples."""
    if (mixture := ask(prior, HasComponents)) is not None:
        return mixture.means
    kept = ask(prior, HasExamples)
    return None if kept is None else kept.examples.x


def component_masses(result: Result) -> Float[Tensor, " n"] | None:
    """Posterior weights of components or examples, else integrated or averaged responsibilities.

    None if the prior has neither components nor examples.
    """
    prior, posterior = result.problem.prior, result.posterior
    distinct = kinds(prior)
    if distinct is None:
        return None
    weighted = ask(posterior, HasWeights)
    if weighted is not None and len(weighted.weights) == len(distinct.place):
        return distinct.total(weighted.weights)
    if (integral := ask(posterior, CanIntegrate)) is not None:
        return integral.expectation(lambda x: responsibilities(prior, x))
    return responsibilities(prior, result.samples.flat).mean(0)
