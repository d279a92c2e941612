"""Checks of denoiser, score, density, covariance and draws of one and the same p(x).

With z = a x + s e and D(z) = E[x | z]:

    score       S(z) = grad log p(z) = (a D(z) - z)/s^2
    moments     E[(x - D(z)) f(z)] = 0        over draws x of the prior, for f = 1, D and waves
    covariance  Cov[x | z] = (s^2/a) dD/dz, symmetric and positive semi-definite
    limits      D(z) -> x as s -> 0 at z = a x,   D(z) -> E[x] as s -> infinity

What holds only for the exact denoiser of the prior's own draws is checked where the fitted prior
has a density at s > 0 (`HasNoisedDensity`).
"""

from __future__ import annotations

import torch

from mempost.core.capabilities import HasComponents, HasDensity, HasNoisedDensity, ask
from mempost.core.level import NoiseLevel
from mempost.core.streams import TILE, Streams
from mempost.testing.check import NotApplicable, having
from mempost.testing.checks.priors import CHECKS, LEVELS, PriorCase
from mempost.testing.comparison import require, require_close, require_means


@CHECKS.add()
def tweedie_identity(case: PriorCase) -> None:
    """The score is not (a D(z) - z)/s^2."""
    for level in LEVELS:
        z = case.states(level)
        expected = (level.a * case.fitted.denoise(z, level) - z) / level.s**2
        require_close(case.fitted.score(z, level), expected, f"Score at {level}", 1e-9)


@CHECKS.add()
def score_is_gradient(case: PriorCase) -> None:
    """The score is not the gradient of the log density, by torch or by central differences."""
    having(case.fitted, HasNoisedDensity)
    prior = case.fitted
    for level in LEVELS:
        z = case.states(level)
        score = prior.score(z, level)
        gradient = torch.func.grad(lambda u, level=level: prior.log_density(u, level).sum())(z)
        require_close(score, gradient, f"Score and gradient at {level}", 1e-8)
        direction = Streams(0, "metric").at().normal(tuple(z.shape))
        h = 1e-5 * case.scale
        up, down = (prior.log_density(z + sign * h * direction, level) for sign in (1, -1))
        along, size = (score * direction).sum(-1), float((score * direction).abs().sum(-1).max())
        require_close((up - down) / (2 * h), along, f"Central differences at {level}", 1e-5, size)


@CHECKS.add()
def log_density_normalised(case: PriorCase) -> None:
    """The density does not integrate to one (in one and two dimensions)."""
    having(case.fitted, HasNoisedDensity)
    d = case.fitted.dimension
    if d > 2:
        raise NotApplicable(f"{d} dimensions are too many for a grid; give data of shape (N, 2)")
    for level in LEVELS:
        z = case.states(level, 256)
        width = 10 * (float(z.std()) + float(level.s))
        axis = torch.linspace(-width, width, 401, dtype=torch.float64)
        grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d) + z.mean(0)
        cell = float(axis[1] - axis[0]) ** d
        total = float(case.fitted.log_density(grid, level).exp().sum()) * cell
        require(abs(total - 1) <= 1e-6, f"At {level} the integral is {total:.6g}.")


@CHECKS.add()
def denoiser_is_posterior_mean(case: PriorCase) -> None:
    """The denoiser is not E[x | z] for the prior's own draws x."""
    having(case.fitted, HasNoisedDensity)
    n, d = 256 * TILE, case.fitted.dimension
    some = range(min(d, 4))
    frequencies = Streams(0, "metric").at().normal((d, 8))
    for level in LEVELS:
        x, z = case.pairs(level, n)
        mean = case.fitted.denoise(z, level)
        waves = (z - z.mean(0)) / z.std() @ frequencies
        probes = torch.cat([torch.ones(n, 1), mean - mean.mean(0), waves.cos(), waves.sin()], 1)
        values = [(x - mean)[:, [i]] * probes for i in some]
        names = [f"mean of (x_{i} - D_{i}) f_{j}(z)" for i in some for j in range(probes.shape[1])]
        require_means(torch.cat(values, 1), torch.zeros(len(names)), names, f"At {level}")


@CHECKS.add()
def posterior_covariance(case: PriorCase) -> None:
    """Cov[x | z] is not (s^2/a) dD/dz, or not symmetric and positive semi-definite."""
    having(case.fitted, HasNoisedDensity)
    d = min(case.fitted.dimension, 64)
    for level in LEVELS:
        z = case.states(level, 2)
        v = torch.eye(case.fitted.dimension).double()[:d]
        rows = z.repeat_interleave(d, 0)
        product = case.fitted.at(rows, level).covariance_product(v.repeat(len(z), 1))
        covariance = product.reshape(len(z), d, -1)[..., :d]
        size = max(float(covariance.abs().max()), 1e-12 * case.scale**2)
        what = f"Cov[x | z] at {level}"
        require_close(covariance.mT, covariance, f"{what} and its transpose", 1e-9, size)
        lowest = float(torch.linalg.eigvalsh((covariance + covariance.mT) / 2).min())
        require(lowest >= -1e-9 * size, f"{what} has the eigenvalue {lowest:.3g}.")
        s = float(level.s)
        steps = 1e-5 * s * v.repeat(len(z), 1)
        up, down = (case.fitted.denoise(rows + sign * steps, level) for sign in (1, -1))
        difference = (s / level.a * (up - down) / 2e-5).reshape(len(z), d, -1)
        size = max(size, 1e-3 * case.scale * s)
        require_close(difference[..., :d], covariance, f"{what} and differences of D", 1e-5, size)


@CHECKS.add()
def denoiser_at_zero_noise(case: PriorCase) -> None:
    """At vanishing noise the denoiser does not give back z / a for z near the prior's draws."""
    for a in (1.0, 0.9):
        s = 1e-4 * case.scale
        x, z = case.pairs(NoiseLevel(a, s), TILE)
        found = case.fitted.denoise(z, NoiseLevel(a, s))
        require_close(found, x, f"D(z) at a = {a}, s = {s:.2g}", 10 * s / a, 1.0)


@CHECKS.add()
def denoiser_at_infinite_noise(case: PriorCase) -> None:
    """At very large noise the denoiser does not give the mean of the prior."""
    having(case.fitted, HasNoisedDensity)
    level = NoiseLevel(1.0, 1e6 * case.scale)
    x, z = case.pairs(level, 32 * TILE)
    found = case.fitted.denoise(z[:8], level)
    require_close(found, found[:1].expand_as(found), "D(z) of two states", 1e-3, case.scale)
    names = [f"coordinate {i}" for i in range(x.shape[1])]
    require_means(x, found.mean(0), names, "Draws, against D(z) as exact")


@CHECKS.add()
def mixture_parts(case: PriorCase) -> None:
    """A mixture prior's weights, factors and component densities do not fit together."""
    prior = having(case.fitted, HasComponents)
    n, level = len(prior.weights), LEVELS[1]
    require_close(prior.weights.sum(), torch.tensor(1.0).double(), "Sum of the weights")
    z = case.states(level)
    parts = prior.component_log_densities(z, level)
    require_close(
        torch.logsumexp(parts, -1), case.fitted.log_density(z, level), "log-sum-exp", 1e-9
    )
    require_close(prior.responsibilities(z, level), torch.softmax(parts, -1), "w_n(z)", 1e-9)
    index = torch.arange(min(n, 16))
    eye = torch.eye(prior.dimension).double().expand(len(index), -1, -1)
    factors = prior.factor_product(index, eye).expand(len(index), -1, -1)
    transposed = prior.factor_product(index, eye, transpose=True).expand_as(factors)
    require_close(transposed, factors.mT, "L_n^T and the transpose of L_n")
    variance = level.a**2 * factors @ factors.mT + level.s**2 * eye
    gaussian = torch.distributions.MultivariateNormal(level.a * prior.means[index], variance)
    expected = prior.weights[index].log() + gaussian.log_prob(z[:, None])
    require_close(parts[:, : len(index)], expected, "Component log densities", 1e-8)
    if ask(case.fitted, HasDensity) is None:
        return
    solved, log_det = prior.factor_solve(index, factors)
    require_close(solved.expand_as(eye), eye, "L_n^-1 L_n", 1e-9)
    expected = torch.linalg.slogdet(factors)[1]
    require_close(log_det, expected, "log |det L_n|", 1e-9, max(1.0, float(expected.abs().max())))
