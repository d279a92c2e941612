"""The Gaussian update of every component of a mixture prior, a block of components at a time.

Component n is x = x_n + L_n u with u ~ N(0, I). F is linearised at a point p_n, the mean x_n unless
said otherwise, and with the whitened r_n and J_n there and A_n = J_n L_n the data see

    r_n + J_n (p_n - x_n)  =  A_n u + e,        e ~ N(0, I),

the problem of `gaussian_update`. Three ways lead to the same answer:

* F linear: one Jacobian for all; one update too if all components have one covariance.
* d <= m: from J_n^T J_n, J_n^T r_n and |r_n|^2, which a `Linearisations` gives (see there).
* d > m: from A_n itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mempost.core.capabilities import HasComponents, require
from mempost.core.memory import remember
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.methods.posteriors.gaussian_update import GaussianUpdate
from mempost.methods.posteriors.linear_model import linear_model
from mempost.methods.posteriors.linearisation_store import Linearisations


class ComponentUpdates(NamedTuple):
    """The updates of the components whose numbers are ``components``.

    ``update`` holds one problem a component, or one in all where it is shared. ``points`` are
    those of linearisation; where they had to be searched for, ``converged`` says which were found.
    """

    components: Int[Tensor, " k"]
    u: Float[Tensor, "k d"]
    quadratic: Float[Tensor, " k"]
    update: GaussianUpdate
    points: Float[Tensor, "k d"]
    converged: Bool[Tensor, " k"]


def mixture_of(problem: InverseProblem) -> HasComponents:
    """The problem's prior, which must be a mixture.

    Raises:
        PluginError: it is not.
    """
    return require(
        problem.prior,
        HasComponents,
        "a linearised mixture",
        "empirical_gmm, gaussian and gaussian_mixture have them",
    )


def linearisations_of(problem: InverseProblem, keep: bool) -> Linearisations:
    """F and its Jacobians at the means of the prior, in components that the noise leaves white."""
    return Linearisations(
        problem.operator,
        mixture_of(problem).means,
        problem.prior.shape,
        keep,
        problem.gaussian("a linearised mixture").whitening,
    )


def updates_at_means(problem: InverseProblem, keep: bool, block: int) -> Iterator[ComponentUpdates]:
    """Updates of all components in order, linearised at their means.

    Args:
        problem: with a mixture prior.
        keep: whether Jacobians are kept on disk.
        block: numbers in the matrices of one block, where these are not those of `keep`.

    Raises:
        NonFiniteError: F or its Jacobian is not finite at a component, which is named.
    """
    if problem.operator.is_linear:
        yield from _of_linear(problem, block)
    elif problem.dimension <= problem.data_dimension:
        yield from _from_statistics(problem, keep)
    else:
        yield from _from_matrices(problem, keep)


def update_at(
    problem: InverseProblem, index: Tensor, points: Float[Tensor, "k d"]
) -> GaussianUpdate:
    """The updates of the components in ``index``, linearised at the given points."""
    prior = mixture_of(problem)
    j = constant_jacobian(problem)
    if j is None:
        j = linearised(problem, points, int(index[0]))[1]
    return GaussianUpdate.of(whitened_matrix(prior, index, j))


def common_update(problem: InverseProblem) -> GaussianUpdate | None:
    """The update of all components, where they share one."""
    prior = mixture_of(problem)
    if not (problem.operator.is_linear and prior.shared_covariance):
        return None
    jacobian = constant_jacobian(problem)
    assert jacobian is not None
    first = torch.zeros(1, dtype=torch.long, device=prior.device)
    return remember(
        lambda: GaussianUpdate.of(whitened_matrix(prior, first, jacobian)),
        "common update",
        prior,
        problem.operator,
        problem.noise,
    )


def constant_jacobian(problem: InverseProblem) -> Float[Tensor, "1 m d"] | None:
    """The whitened Jacobian of a linear operator; None if F is not linear."""
    if not problem.operator.is_linear:
        return None
    return linear_model(problem).A[None]


def linearised(
    problem: InverseProblem, x: Float[Tensor, "k d"], first: int
) -> tuple[Float[Tensor, "k m"], Float[Tensor, "k m d"]]:
    """Whitened residuals and Jacobians at x; ``first`` numbers the first row, for messages."""
    r, j = problem.linearise(x)
    require_finite(j, "the Jacobian of F at the mean of a component", first_sample=first)
    require_finite(r, "F at the mean of a component", first_sample=first)
    return r, j


def whitened_matrix(
    prior: HasComponents, index: Tensor, jacobian: Float[Tensor, "#k m d"]
) -> Float[Tensor, "k m d"]:
    """A_n = J_n L_n for the components in ``index`` (k,)."""
    transposed = jacobian.mT.expand(len(index), -1, -1)
    return prior.factor_product(index, transposed, transpose=True).mT


def _of_linear(problem: InverseProblem, block: int) -> Iterator[ComponentUpdates]:
    prior, (m, d) = mixture_of(problem), (problem.data_dimension, problem.dimension)
    jacobian, shared = constant_jacobian(problem), common_update(problem)
    assert jacobian is not None
    values, y = problem.forward_at(prior.means), problem.y.flatten()
    for index in blocks(len(prior.weights), m + d if shared else m * d, block):
        x = prior.means[index]
        r = problem.gaussian().whiten(y - values[index])
        require_finite(r, "F at the mean of a component", first_sample=int(index[0]))
        if shared is not None:
            a = whitened_matrix(prior, index[:1], jacobian)
            u, quadratic = shared.solve(a, r.mT[None])
            yield _at_means(index, u[0].mT, quadratic[0], shared, x)
        else:
            yield _from_matrix(index, whitened_matrix(prior, index, jacobian), r, x)


def _from_matrices(problem: InverseProblem, keep: bool) -> Iterator[ComponentUpdates]:
    prior, noise = mixture_of(problem), problem.gaussian()
    store, y, gamma = linearisations_of(problem, keep), _data(problem), noise.component_std
    for k, index in enumerate(store.blocks):
        values, transposed = store.block(k)
        a, r = whitened_matrix(prior, index, transposed.mT / gamma), (y - values) / gamma
        require_finite(r, "the residual of a component", first_sample=int(index[0]))
        yield _from_matrix(index, a, r, prior.means[index])


def _from_statistics(problem: InverseProblem, keep: bool) -> Iterator[ComponentUpdates]:
    prior, precision = mixture_of(problem), problem.gaussian().component_std ** -2
    store, y = linearisations_of(problem, keep), _data(problem)
    for k, index in enumerate(store.blocks):
        gram, gradient, square = store.block_statistics(k, y[None])
        require_finite(square, "the misfit of a component", first_sample=int(index[0]))
        half = prior.factor_product(index, precision * gram, transpose=True)
        gram = prior.factor_product(index, half.mT, transpose=True)
        t = prior.factor_product(index, precision * gradient.mT, transpose=True)[..., 0]
        update = GaussianUpdate.of_gram(gram)
        u, quadratic = update.solve_statistics(gram, t, precision * square[:, 0])
        yield _at_means(index, u, quadratic, update, prior.means[index])


def _data(problem: InverseProblem) -> Float[Tensor, " m"]:
    """The components of the data, as those of a store of linearisations."""
    return problem.noise.components(problem.y.flatten())


def _from_matrix(index: Tensor, a: Tensor, r: Tensor, points: Tensor) -> ComponentUpdates:
    update = GaussianUpdate.of(a)
    u, quadratic = (x[..., 0] for x in update.solve(a, r[..., None]))
    return _at_means(index, u, quadratic, update, points)


def _at_means(
    index: Tensor, u: Tensor, quadratic: Tensor, update: GaussianUpdate, points: Tensor
) -> ComponentUpdates:
    converged = torch.ones(len(index), dtype=torch.bool, device=u.device)
    return ComponentUpdates(index, u, quadratic, update, points, converged)


def blocks(n: int, numbers: int, block: int) -> Iterator[Tensor]:
    """0 .. n - 1 in blocks that hold ``block`` numbers, ``numbers`` for each."""
    yield from torch.arange(n).split(max(1, block // numbers))
