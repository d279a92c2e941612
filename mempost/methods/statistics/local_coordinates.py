"""Coordinates in which an exact posterior has unit size, mode by mode.

A distance in x compares lengths with the whole posterior: what happens inside modes that are
narrow beside their separation, or along a coordinate of small scale, lies far below its
Monte-Carlo floor. In local coordinates it does not. Where the exact posterior has Gaussian
components, sum_n w_n N(mu_n, Sigma_n),

    t(x) = Lambda_n^-1 (x - mu_n),      Sigma_n = Lambda_n Lambda_n^T,

with the component n that x most likely came from; where it has a density only,

    t(x) = ((x - m) / s,  asinh((log p(x | y) - median) / range)),

mean m and standard deviations s those of exact draws, median and range (between quartiles) those of
their log densities. Either map is fixed by the exact posterior, so that a null made of its draws
holds. Neither changes with the units of x, nor of any coordinate. It forgets which mode x is in:
wrong masses of modes are seen in x, and not here. Atoms have no inside, and no local coordinates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import HasDensity, HasPosteriorComponents, ask
from mempost.core.posterior import Posterior

_SHARE = 0.999
_MOST = 64
"""Components: the fewest that hold the share, at most so many."""
_NUMBERS = 2**25
"""In the covariances of these components, at most: there are none for more than 5792 unknowns."""
_BLOCK = 2**22
"""Numbers held at a time."""
_LEAST = -1e30
"""Log density off the support."""

Local = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n k"]]


def local_coordinates(posterior: Posterior | None, exact: Float[Tensor, "m d"]) -> Local | None:
    """The map t of an exact posterior; None where it only draws, has atoms, or is too large.

    Args:
        posterior: the exact posterior.
        exact: draws of it, in its own coordinates.
    """
    density, most = ask(posterior, HasDensity), _NUMBERS // exact.shape[1] ** 2
    if density is None:
        return None
    components = ask(posterior, HasPosteriorComponents)
    if components is None:
        return _of_density(density, exact)
    return _of_components(components, min(most, _MOST)) if most else None


def _of_components(posterior: HasPosteriorComponents, most: int) -> Local:
    weights, order = posterior.weights.double().sort(descending=True)
    held = int((weights.cumsum(0) < _SHARE * weights.sum()).sum()) + 1
    index, weights = order[: min(held, most)], weights[: min(held, most)]
    means = posterior.component_means[index].double()
    covariances = posterior.component_covariances(index).double()
    scale = covariances.diagonal(dim1=-2, dim2=-1).sqrt()  # units go first, correlations remain
    factors = _factors(covariances / (scale[:, :, None] * scale[:, None]))
    log_det = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1) + scale.log().sum(-1)
    log_weights = weights.log() - log_det

    def t(x: Tensor) -> Tensor:
        found = []
        for block in x.double().split(max(1, _BLOCK // means.numel())):
            centred = ((block - means[:, None]) / scale[:, None]).mT
            v = torch.linalg.solve_triangular(factors, centred, upper=False)
            best = (log_weights[:, None] - 0.5 * v.square().sum(1)).argmax(0)
            found.append(v[best, :, torch.arange(len(block))])
        return torch.cat(found)

    return t


def _of_density(posterior: HasDensity, exact: Float[Tensor, "m d"]) -> Local:
    def log_density(x: Tensor) -> Tensor:
        return posterior.log_density(x.to(exact.dtype)).double()

    mean, std = exact.double().mean(0), exact.double().std(0)
    std = torch.where(std > 0, std, 1.0)
    quartiles = torch.tensor([0.25, 0.5, 0.75]).to(mean)
    low, middle, high = torch.quantile(log_density(exact), quartiles)
    scale = high - low if high > low else torch.ones_like(high)

    def t(x: Tensor) -> Tensor:
        log_p = log_density(x).clamp(min=_LEAST)
        level = torch.asinh((log_p - middle) / scale)
        return torch.cat([(x.double() - mean) / std, level[:, None]], 1)

    return t


def _factors(correlations: Float[Tensor, "k d d"]) -> Float[Tensor, "k d d"]:
    """Lower Cholesky factors; what rounding has made indefinite is lifted by rounding."""
    found, failed = torch.linalg.cholesky_ex(correlations)
    if not bool(failed.any()):
        return found
    eye = torch.eye(correlations.shape[-1]).to(correlations)
    shift = torch.finfo(torch.float32).eps * correlations.shape[-1]
    return torch.linalg.cholesky(correlations + shift * eye)
