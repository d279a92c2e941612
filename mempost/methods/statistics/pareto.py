"""Shape of the largest importance weights: a generalised Pareto law fitted to their tail.

The exceedances z_1 <= ... <= z_M of the M = min(S/5, 3 sqrt(S)) largest of S weights over the next
smaller one are held against the density

    p(z) = 1/sigma (1 + k z/sigma)^(-1/k - 1)

which has 1/k moments. Importance sampling is dependable up to k = min(1 - 1/log10 S, 0.7); from
k = 1 on the mean weight does not exist. With b = -k/sigma the likelihood has the profile

    l(b) = M (log(-b/k) - k - 1),        k(b) = mean_i log(1 - b z_i),

and the estimate averages b over it and takes k at the average, moved towards 1/2 as if by ten
observations.

References: Zhang & Stephens 2009, "A new and efficient estimation method for the generalized Pareto
distribution"; Vehtari, Simpson, Gelman, Yao & Gabry 2024, "Pareto smoothed importance sampling".
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def pareto_shape(log_weights: Float[Tensor, " s"]) -> float:
    """k of the largest weights: NaN for fewer than 5 in the tail, or if these are all equal."""
    ordered = log_weights.double().cpu().sort().values
    s = len(ordered)
    m = math.ceil(min(s / 5, 3 * math.sqrt(s)))
    if m < 5:
        return math.nan
    weights = (ordered[-m - 1 :] - ordered[-1]).exp()
    exceedances = weights[1:] - weights[0]
    if not float(exceedances[-1]) > 0:
        return math.nan
    k = generalised_pareto_shape(exceedances.clamp(min=torch.finfo(torch.float64).tiny))
    return (m * k + 5) / (m + 10)


def dependable_shape(s: int) -> float:
    """The largest k at which ``s`` weights are enough."""
    return min(1 - 1 / math.log10(s), 0.7) if s > 1 else 0.0


def generalised_pareto_shape(z: Float[Tensor, " m"]) -> float:
    """k of a generalised Pareto law from increasing z > 0, without the prior."""
    m = len(z)
    points = 30 + int(math.sqrt(m))
    j = torch.arange(1, points + 1, dtype=z.dtype)
    quartile = z[int(m / 4 + 0.5) - 1]
    b = 1 / z[-1] + (1 - (points / (j - 0.5)).sqrt()) / (3 * quartile)
    k = torch.log1p(-b[:, None] * z).mean(1)
    profile = m * ((-b / k).log() - k - 1)
    average = profile.softmax(0) @ b
    return float(torch.log1p(-average * z).mean())
