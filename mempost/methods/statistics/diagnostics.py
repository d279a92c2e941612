"""Convergence diagnostics of Markov chains: split R-hat and effective sample size.

All follow Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, "Rank-normalization, folding, and
localization: an improved R-hat for assessing convergence of MCMC". Chains are split in half, so
that a drift shows as a difference between chains. With W the mean variance within the M
half-chains of length N and B/N the variance of their means,

    var+   = (N - 1)/N W + B/N,        R-hat = sqrt(var+ / W)
    rho_t  = 1 - (W - mean_m c_{t,m}) / var+
    ESS    = M N / tau,                tau = -1 + 2 sum_{k < K} P_k + max(rho_{2K}, 0)

with c_{t,m} the autocovariance of half-chain m at lag t. The pairs P_k = rho_{2k} + rho_{2k+1} are
summed up to the first negative one, P_K, and forced to decrease (Geyer 1992, initial monotone
sequence); the last three lags are left out. Draws are replaced by the normal scores of their
ranks, so that no moments need exist.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Draws = Float[Tensor, "chain draw"]


def split_chains(x: Draws) -> Draws:
    """First and second halves as chains of their own; the middle draw of an odd number is left."""
    half = x.shape[1] // 2
    return torch.cat([x[:, :half], x[:, -half:]])


def rank_normalise(x: Draws) -> Draws:
    """Normal scores of the pooled ranks, ties sharing their mean rank (Blom 1958)."""
    flat = x.flatten().double()
    _, inverse, counts = torch.unique(flat, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    mean_rank = (last - (counts - 1) / 2)[inverse]
    return torch.special.ndtri((mean_rank - 3 / 8) / (flat.numel() + 1 / 4)).reshape(x.shape)


def fold(x: Draws) -> Draws:
    """Distance from the median: shows chains that differ in scale and not in location."""
    ordered = x.flatten().sort().values
    n = ordered.numel()
    return (x - (ordered[(n - 1) // 2] + ordered[n // 2]) / 2).abs()


def plain_r_hat(x: Draws) -> float:
    """sqrt(var+ / W) of chains as they are: infinite if all are stuck at different places.

    NaN if all draws are equal.
    """
    n = x.shape[1]
    within = x.var(1).mean()
    between = x.mean(1).var()
    return float(((n - 1) / n + between / within).sqrt())


def r_hat(x: Draws) -> float:
    """The larger of rank-normalised split R-hat and its folded version."""
    halves = split_chains(x.double())
    values = [plain_r_hat(rank_normalise(halves)), plain_r_hat(rank_normalise(fold(halves)))]
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def autocovariance(x: Draws) -> Draws:
    """Biased autocovariance of every chain at lags 0, 1, ..., by FFT."""
    n = x.shape[1]
    centred = x - x.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * n).abs().square()
    return torch.fft.irfft(spectrum, n=2 * n)[:, :n] / n


def autocorrelation(x: Draws) -> Float[Tensor, " draw"]:
    """rho_t of all chains together, at lags 0, 1, ...; NaN if all draws are equal."""
    n = x.shape[1]
    covariance = autocovariance(x).mean(0)
    within = covariance[0] * (n / (n - 1))
    between = x.mean(1).var() if len(x) > 1 else 0.0
    rho = 1 - (within - covariance) / (covariance[0] + between)
    rho[0] = torch.where(torch.isnan(rho[0]), torch.nan, 1.0)
    return rho


def plain_ess(x: Draws) -> float:
    """Effective sample size of chains as they are, at most M N log10(M N).

    NaN if all draws are equal.
    """
    size = x.numel()
    rho = autocorrelation(x.double())
    if torch.isnan(rho[0]):
        return math.nan
    count = max(0, (len(rho) - 3) // 2)
    pairs = rho[: 2 * count].reshape(-1, 2).sum(1)
    negative = torch.nonzero(pairs < 0)
    stop = int(negative[0]) if len(negative) else len(pairs)
    decreasing = torch.cummin(pairs[:stop], 0).values if stop else pairs[:0]
    tau = -1 + 2 * float(decreasing.sum()) + max(float(rho[2 * stop]), 0.0)
    return size / max(tau, 1 / math.log10(size))


def ess_bulk(x: Draws) -> float:
    """Effective sample size of the rank-normalised half-chains: for means and medians."""
    return plain_ess(rank_normalise(split_chains(x.double())))


def ess_tail(x: Draws) -> float:
    """The smaller effective sample size of the 5 % and the 95 % quantile."""
    x = x.double()
    levels = torch.quantile(x.flatten(), x.new_tensor([0.05, 0.95]))
    values = [plain_ess(split_chains((x <= level).double())) for level in levels]
    return min((value for value in values if not math.isnan(value)), default=math.nan)
