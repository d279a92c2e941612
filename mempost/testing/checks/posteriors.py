"""Checks of samplers against exact posteriors.

Samplers with the tag ``exact`` are held against closed-form posteriors of linear problems
(`mempost.testing.reference`): distribution functions along several directions, means, covariances
and component masses, with tolerances from Monte-Carlo error (`mempost.testing.comparison`). Chains
are independent of one another, draws within a chain are not: errors come from averages over chains.
Samplers with the tag ``interacting`` are replicated with different seeds instead. Components that
are far apart are asked of samplers in closed form only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mempost.core.capabilities import HasDensity, ask
from mempost.core.iterative import IterativeSampler
from mempost.core.posterior import Posterior
from mempost.core.problem import InverseProblem
from mempost.core.streams import TILE, Streams
from mempost.testing.check import NotApplicable
from mempost.testing.checks.samplers import CHECKS, STREAMS, SamplerCase
from mempost.testing.comparison import require_close, require_distribution, require_means
from mempost.testing.reference import DensePosterior, is_solvable, solve


@CHECKS.add(tag="exact")
def exact_posterior(case: SamplerCase) -> None:
    """The tag `exact` is false: samples do not follow the closed-form posterior."""
    compared = 0
    for name, problem in case.problems.items():
        closed_form = "closed_form" in case.tags
        if not is_solvable(problem) or (name == "separated mixture" and not closed_form):
            continue
        _require_posterior(_replicates(case, problem), solve(problem), f"Problem {name!r}")
        compared += 1
    if not compared:
        raise NotApplicable("no problem with a closed-form posterior suits the sampler")


def _replicates(case: SamplerCase, problem: InverseProblem) -> Tensor:
    """Independent rows (n, draws, d): chains, or runs of a sampler whose chains interact."""
    if "interacting" in case.tags:
        runs = [case.run(TILE, problem, Streams(seed, "sampling")).flat for seed in range(32)]
        return torch.stack(runs)
    if isinstance(case.plugin, IterativeSampler):  # together in one tile, which is faster
        wide = case.plugin.model_copy(update={"tile": 32 * TILE})
        return case.rows(wide.sample(problem, 32 * TILE, STREAMS))
    chains = case.tile.values.shape[0] > 1
    tiles = 128 if "closed_form" in case.tags else 4 if chains else 32
    return case.rows(case.run(tiles * TILE, problem))


def _require_posterior(values: Tensor, exact: DensePosterior, what: str) -> None:
    """Hold independent rows (n, draws, d) against an exact posterior."""
    n, draws, d = values.shape
    values = values.double().cpu()
    every = values.flatten(0, 1)
    mass = exact.responsibilities(every)
    names = [f"mass of component {i}" for i in range(mass.shape[1])]
    rows, columns = torch.triu_indices(d, d).tolist()
    centred = every - exact.mean()
    names += [f"mean of coordinate {i}" for i in range(d)]
    names += [f"covariance of coordinates {i} and {j}" for i, j in zip(rows, columns, strict=True)]
    statistics = torch.cat([mass, every, centred[:, rows] * centred[:, columns]], 1)
    expected = torch.cat([exact.weights, exact.mean(), exact.covariance()[rows, columns]])
    independent = (exact.weights * (1 - exact.weights) / len(every)).sqrt()
    smallest = torch.cat([independent, torch.zeros(len(expected) - len(independent))])
    averages = statistics.unflatten(0, (n, draws)).mean(1)
    require_means(averages, expected, names, what, smallest)
    if exact.is_atomic or (draws > 1 and n < 64):
        return
    axes = torch.linalg.eigh(exact.covariance()).eigenvectors
    directions = torch.cat([torch.eye(d).double(), axes], 1)
    require_distribution(exact.distribution(values[:, -1], directions), what)


@CHECKS.add()
def posterior_in_closed_form(case: SamplerCase) -> None:
    """The closed-form posterior is not the exact one (tag `exact`), or not that of its draws."""
    for name, posterior in case.posteriors.items():
        problem = case.problems[name]
        if "exact" in case.tags and is_solvable(problem):  # exact_posterior sees to the draws
            _require_same(posterior, solve(problem), f"Problem {name!r}")
        else:
            _require_own_draws(case, posterior, problem, name)
    if not case.posteriors:
        raise NotApplicable("the sampler has no closed-form posterior")


def _require_own_draws(
    case: SamplerCase, posterior: Posterior, problem: InverseProblem, name: str
) -> None:
    x = case.run(16 * TILE, problem).flat.double().cpu()
    mean, covariance = posterior.mean().double().cpu(), posterior.covariance().double().cpu()
    values = torch.cat([x, (x - mean).square()], 1)
    expected = torch.cat([mean, covariance.diagonal()])
    names = [f"{what} of coordinate {i}" for what in ("mean", "variance") for i in range(len(mean))]
    require_means(values, expected, names, f"Problem {name!r}, draws against the posterior")


def _require_same(posterior: Posterior, exact: DensePosterior, what: str) -> None:
    scale = float(exact.std().max())
    mean, covariance = posterior.mean().double().cpu(), posterior.covariance().double().cpu()
    require_close(mean, exact.mean(), f"{what}, posterior mean", 1e-3, scale)
    require_close(covariance, exact.covariance(), f"{what}, posterior covariance", 1e-3, scale**2)
    if exact.is_atomic:
        return
    if (density := ask(posterior, HasDensity)) is None:
        return
    x = exact.sample(TILE, Streams(0, "metric"))
    found = density.log_density(x).double().cpu()
    require_close(found, exact.log_density(x), f"{what}, log density", 1e-3, 1.0)
