"""Importance weights: effective sample size, mean, systematic resampling.

Draws x_i of a proposal q stand for a target p through w_i = p(x_i)/q(x_i). Of n draws,

    ESS = (sum_i w_i)^2 / sum_i w_i^2

count as many as independent draws of p (Kong, Liu & Wong 1994). Systematic resampling copies draw i
n w_i / sum w times, rounded up or down with the right expectation, by one uniform number
(Kitagawa 1996); a random order makes any part of the copies as good as any other.

Reference: Chopin & Papaspiliopoulos 2020, "An introduction to sequential Monte Carlo", chapters 8
and 9.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mempost.core.streams import Stream


def effective_sample_size(log_weights: Float[Tensor, " n"]) -> float:
    """(sum w)^2 / sum w^2, between 1 and n."""
    log_weights = log_weights.double()
    return float((2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp())


def log_mean(log_weights: Float[Tensor, " n"]) -> tuple[float, float]:
    """log of the mean weight and its standard error, by the delta method (NaN for one weight)."""
    n, log_weights = len(log_weights), log_weights.double()
    value = log_weights.logsumexp(0) - math.log(n)
    relative = (log_weights - value).exp()
    return float(value), float(relative.std() / math.sqrt(n)) if n > 1 else math.nan


def systematic(log_weights: Float[Tensor, " n"], stream: Stream) -> Int[Tensor, " n"]:
    """Which draw each of n equally weighted draws is a copy of, in random order."""
    n = len(log_weights)
    cdf = log_weights.double().cpu().softmax(0).cumsum(0)
    places = (torch.arange(n) + stream.uniform((1,))) / n
    ancestors = torch.searchsorted(cdf, places * cdf[-1], right=True).clamp(max=n - 1)
    return ancestors[stream.permutation(n)].to(log_weights.device)
