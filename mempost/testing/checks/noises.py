"""Checks of the observation noise: normalisation, complex convention, variance.

A real number r = y - F(x) has log p(y | x) = -r^2 / (2 sigma^2) + const; a complex one, with
E|n|^2 = sigma^2, has -|r|^2 / sigma^2 + const, since both parts carry half of the variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mempost.core.noise import GaussianNoise
from mempost.core.streams import Streams
from mempost.testing.check import Catalogue, NotApplicable
from mempost.testing.comparison import (
    require,
    require_close,
    require_distribution,
    require_equal,
)
from mempost.testing.randomness import twice_under_global_seeds


@dataclass(frozen=True, eq=False)
class NoiseCase:
    """A noise model."""

    plugin: GaussianNoise

    @property
    def tags(self) -> frozenset[str]:
        return frozenset({"complex"}) if self.plugin.complex else frozenset()

    def residuals(self, batch: int, m: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Residuals of a few standard deviations, (batch, m)."""
        r = self.plugin.std * Streams(0, "noise").at().normal((batch, m, 2), dtype)
        return torch.view_as_complex(r) if self.plugin.complex else r[..., 0]


CHECKS: Catalogue[NoiseCase] = Catalogue("noise", NoiseCase)


@CHECKS.add()
def likelihood_normalised(case: NoiseCase) -> None:
    """The likelihood of one datum does not integrate to one over the data."""
    grid = torch.linspace(-8, 8, 401, dtype=torch.float64) * case.plugin.std
    cell = float(grid[1] - grid[0])
    if case.plugin.complex:
        r = torch.complex(*torch.meshgrid(grid, grid, indexing="ij")).reshape(-1, 1)
        total = float(case.plugin.log_likelihood(r).exp().sum()) * cell**2
    else:
        total = float(case.plugin.log_likelihood(grid[:, None]).exp().sum()) * cell
    require(abs(total - 1) <= 1e-6, f"The integral is {total:.6g}.")


@CHECKS.add(without="complex")
def real_convention(case: NoiseCase) -> None:
    """The log-likelihood of real data is not -|r|^2 / (2 std^2) up to a constant."""
    r = case.residuals(5, 3)
    found = case.plugin.log_likelihood(r) - case.plugin.log_likelihood(torch.zeros_like(r))
    expected = -r.square().sum(-1) / (2 * case.plugin.std**2)
    require_close(found, expected, "log p(y | x) - log p(F(x) | x)")


@CHECKS.add(tag="complex")
def complex_convention(case: NoiseCase) -> None:
    """The log-likelihood of complex data is not -|r|^2 / std^2 up to a constant."""
    r = case.residuals(5, 3)
    found = case.plugin.log_likelihood(r) - case.plugin.log_likelihood(torch.zeros_like(r))
    expected = -r.abs().square().sum(-1) / case.plugin.std**2
    require_close(found, expected, "log p(y | x) - log p(F(x) | x)")


@CHECKS.add()
def whitening(case: NoiseCase) -> None:
    """Whitened residuals are not real, or half their square is not minus the log-likelihood."""
    r = case.residuals(5, 3)
    whitened = case.plugin.whiten(r)
    count = 6 if case.plugin.complex else 3
    require(
        not whitened.is_complex() and tuple(whitened.shape) == (5, count),
        f"Three data give {whitened.dtype} of shape {tuple(whitened.shape)}.",
    )
    zero = case.plugin.log_likelihood(torch.zeros_like(r))
    found = zero - 0.5 * whitened.square().sum(-1)
    require_close(found, case.plugin.log_likelihood(r), "-|whitened|^2 / 2 + const", 1e-10)


@CHECKS.add()
def empirical_variance(case: NoiseCase) -> None:
    """Draws of the noise do not have the variance that the likelihood assumes."""
    n = 4096
    y = torch.zeros(n, 1, dtype=torch.complex128 if case.plugin.complex else torch.float64)
    noise = case.plugin.perturb(y, Streams(0, "noise").at())
    component = case.plugin.std / (math.sqrt(2) if case.plugin.complex else 1.0)
    parts = torch.view_as_real(noise)[:, 0] if case.plugin.complex else noise
    require_distribution(torch.special.ndtr(parts / component), "Noise")
    # P(|chi2_n / n - 1| > 2 sqrt(t/n) + 2 t/n) <= 2 exp(-t) (Laurent & Massart 2000), t = 14.5
    allowed = 2 * math.sqrt(14.5 / n) + 2 * 14.5 / n
    for column in parts.mT:
        ratio = float((column / component).square().mean())
        require(abs(ratio - 1) <= allowed, f"Variance over the assumed one is {ratio:.3f}.")


@CHECKS.add()
def batch_invariance(case: NoiseCase) -> None:
    """The log-likelihood of a row depends on the other rows."""
    r = case.residuals(5, 3)
    alone = torch.cat([case.plugin.log_likelihood(row[None]) for row in r])
    require_close(case.plugin.log_likelihood(r), alone, "log p(y | x) in a batch and alone")


@CHECKS.add()
def global_random_state(case: NoiseCase) -> None:
    """Draws depend on a global random generator, or are not a function of the stream."""
    y = case.residuals(4, 2)
    first, second = twice_under_global_seeds(
        lambda: case.plugin.perturb(y, Streams(0, "noise").at())
    )
    require_equal(first, second, "Two draws from one stream")
    require_equal(y, case.residuals(4, 2), "The data after the draw")


@CHECKS.add()
def dtype_kept(case: NoiseCase) -> None:
    """Precision changes on the way."""
    r = case.residuals(4, 2, torch.float32)
    for what, found in (
        ("whiten", case.plugin.whiten(r).dtype),
        ("log_likelihood", case.plugin.log_likelihood(r).dtype),
        ("perturb", case.plugin.perturb(r, Streams(0, "noise").at()).dtype.to_real()),
    ):
        require(found == torch.float32, f"{what} of {r.dtype} gives {found}.")


@CHECKS.add()
def device(case: NoiseCase) -> None:
    """Data on an accelerator leave it."""
    if not torch.cuda.is_available():
        raise NotApplicable("no accelerator here")
    r = case.residuals(4, 2)
    drawn = case.plugin.perturb(r.cuda(), Streams(0, "noise").at())
    require_equal(drawn.cpu(), case.plugin.perturb(r, Streams(0, "noise").at()), "Draw on cuda")
    require(case.plugin.whiten(r.cuda()).is_cuda, "Whitened residuals left the device.")


@CHECKS.add()
def non_finite_refused(case: NoiseCase) -> None:
    """A standard deviation that is not a positive finite number is accepted."""
    for std in (0.0, -1.0, math.nan, math.inf):
        try:
            type(case.plugin)(std, case.plugin.complex)
        except ValueError:
            continue
        require(False, f"std = {std} was accepted.")
