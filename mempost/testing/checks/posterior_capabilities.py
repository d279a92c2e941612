"""Checks of what a posterior in closed form says that it gives, against its own moments.

Integrals of 1 and x, the integral of the density, the moments of its atoms and components: whoever
measures with one of them has to get what the others say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch

from mempost.core.capabilities import (
    CanIntegrate,
    HasAtoms,
    HasDensity,
    HasMarginals,
    HasPosteriorComponents,
    HasTangents,
    HasWeights,
    ask,
)
from mempost.core.posterior import Posterior
from mempost.core.streams import TILE, Streams
from mempost.testing.check import NotApplicable
from mempost.testing.checks.samplers import CHECKS, SamplerCase
from mempost.testing.comparison import require, require_close

C = TypeVar("C")
_ACCURACY = 1e-6
_GRID = 401


def _having(case: SamplerCase, capability: type[C]) -> Iterator[tuple[str, Posterior, C]]:
    """The posteriors that have a capability; NotApplicable if none has."""
    found = [
        (f"Problem {name!r}", posterior, given)
        for name, posterior in case.posteriors.items()
        if (given := ask(posterior, capability)) is not None
    ]
    if not found:
        raise NotApplicable(f"no posterior in closed form that is {capability.__name__}")
    yield from found


@CHECKS.add()
def posterior_weights(case: SamplerCase) -> None:
    """Weights of the posterior are negative, or do not sum to 1."""
    for what, _, given in _having(case, HasWeights):
        total = given.weights.sum()
        require(bool((given.weights >= 0).all()), f"{what}: a weight is negative.")
        require_close(total, torch.ones_like(total), f"{what}, sum of the weights", _ACCURACY)


@CHECKS.add()
def posterior_integrals(case: SamplerCase) -> None:
    """`expectation` of 1 is not 1, or that of x is not the mean of the posterior."""
    for what, posterior, given in _having(case, CanIntegrate):
        one = given.expectation(lambda x: torch.ones_like(x[:, :1]))
        require_close(one, torch.ones_like(one), f"{what}, E[1]", _ACCURACY)
        mean, scale = posterior.mean(), float(posterior.std().max())
        scale = max(scale, float(mean.abs().max()))
        require_close(given.expectation(lambda x: x), mean, f"{what}, E[x]", _ACCURACY, scale)


@CHECKS.add()
def posterior_density(case: SamplerCase) -> None:
    """The density is not finite at draws of the posterior, or does not integrate to one."""
    for what, posterior, given in _having(case, HasDensity):
        x = posterior.sample(TILE, Streams(0, "metric"))
        finite = torch.isfinite(given.log_density(x)).all()
        require(bool(finite), f"{what}: the log density is not finite at draws.")
        mean, std = posterior.mean(), posterior.std()
        if (d := len(mean)) > 2:
            continue
        axis = torch.linspace(-10, 10, _GRID, dtype=mean.dtype)
        grid = mean + std * torch.cartesian_prod(*[axis] * d).reshape(-1, d)
        cell = float(std.prod()) * float(axis[1] - axis[0]) ** d
        total = float(given.log_density(grid).exp().sum()) * cell
        require(abs(total - 1) <= 1e-3, f"{what}: the integral of the density is {total:.6g}.")


@CHECKS.add()
def posterior_atoms(case: SamplerCase) -> None:
    """The weighted atoms have other weights or another mean than the posterior."""
    for what, posterior, given in _having(case, HasAtoms):
        require_close(given.log_weights.exp(), given.weights, f"{what}, weights", _ACCURACY)
        scale = float(given.atoms.abs().max())
        mean = given.weights @ given.atoms
        require_close(mean, posterior.mean(), f"{what}, mean of the atoms", _ACCURACY, scale)


@CHECKS.add()
def posterior_components(case: SamplerCase) -> None:
    """Means and covariances of the components do not give those of the posterior."""
    for what, posterior, given in _having(case, HasPosteriorComponents):
        w, means = given.weights, given.component_means
        scale = max(float(posterior.std().max()), float(means.abs().max()))
        require_close(w @ means, posterior.mean(), f"{what}, mean", _ACCURACY, scale)
        covariances = given.component_covariances(torch.arange(len(w)))
        centred = means - posterior.mean()
        total = torch.einsum("n,nij->ij", w, covariances) + centred.T @ (w[:, None] * centred)
        require_close(total, posterior.covariance(), f"{what}, covariance", _ACCURACY, scale**2)


@CHECKS.add()
def posterior_tangents(case: SamplerCase) -> None:
    """Points of linearisation or draws of components have another shape than the components."""
    for what, _, given in _having(case, HasTangents):
        require_close(given.log_weights.exp(), given.weights, f"{what}, weights", _ACCURACY)
        n, d = given.component_means.shape
        drawn = given.component_draws(torch.arange(n), 3, Streams(0, "metric").at())
        shapes = {
            "points": (given.points, (n, d)),
            "converged": (given.converged, (n,)),
            "component_draws": (drawn, (n, 3, d)),
        }
        for name, (found, shape) in shapes.items():
            require(tuple(found.shape) == shape, f"{what}: {name} has {tuple(found.shape)}.")


@CHECKS.add()
def posterior_marginals(case: SamplerCase) -> None:
    """A marginal contradicts itself: distribution function, its inverse and the density."""
    for what, posterior, given in _having(case, HasMarginals):
        marginals = given.marginals(None)
        d = len(posterior.mean())
        require(len(marginals) == d, f"{what}: {len(marginals)} marginals of {d} coordinates.")
        for i, marginal in enumerate(marginals):
            p = posterior.mean().new_tensor([0.1, 0.5, 0.9])
            x = marginal.quantile(p)
            if marginal.atomic:
                require(bool((marginal.cdf(x) >= p - 1e-6).all()), f"{what}: cdf(quantile(p)) < p.")
                continue
            require_close(marginal.cdf(x), p, f"{what}, cdf(quantile(p)) of coordinate {i}", 1e-6)
            h = 1e-4 * float(posterior.std()[i])
            slope = (marginal.cdf(x + h) - marginal.cdf(x - h)) / (2 * h)
            require_close(marginal.density(x), slope, f"{what}, density of coordinate {i}", 1e-4)
