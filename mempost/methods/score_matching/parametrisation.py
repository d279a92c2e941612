"""Parametrisations: what the network says, and how a loss weighs it.

For u = x + sigma e, about the centre mu of the training data, with F the network,

    D(u) = mu + c_skip (u - mu) + c_out F(c_in (u - mu), clock),    c_in = 1/sqrt(sigma^2 + v^2),

where v = sigma_data is the root mean square of the data about mu:

              c_skip               c_out                            the network says
    x0        0                    v                                (E[x | u] - mu)/v
    epsilon   1                    -sigma                           E[e | u]
    edm       v^2/(sigma^2 + v^2)  sigma v/sqrt(sigma^2 + v^2)      minus the VP velocity

c_in (u - mu) is the state of a variance-preserving process: the same network for every schedule.

Losses are mean squares of D - x with a weight lambda(sigma):

    output    1/c_out^2                     the error of the network's own output
    x0        1/v^2
    epsilon   1/sigma^2
    edm       1/sigma^2 + 1/v^2
    min_snr   min(1/sigma^2, 5/v^2)

References: Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based
generative models"; Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models"; Hang et al.
2023, "Efficient diffusion training via min-SNR weighting strategy".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Parametrisation = Literal["x0", "epsilon", "edm"]
Weighting = Literal["output", "x0", "epsilon", "edm", "min_snr"]


class Coefficients(NamedTuple):
    """c_skip, c_out and c_in at noise levels (batch, 1)."""

    skip: Tensor
    out: Tensor
    input: Tensor


def coefficients(name: Parametrisation, sigma: Tensor, sigma_data: float) -> Coefficients:
    """The coefficients of a parametrisation."""
    total = sigma**2 + sigma_data**2
    inverse_root = total.rsqrt()
    if name == "x0":
        return Coefficients(
            torch.zeros_like(sigma), torch.full_like(sigma, sigma_data), inverse_root
        )
    if name == "epsilon":
        return Coefficients(torch.ones_like(sigma), -sigma, inverse_root)
    return Coefficients(sigma_data**2 / total, sigma * sigma_data * inverse_root, inverse_root)


def loss_weight(
    weighting: Weighting, name: Parametrisation, sigma: Tensor, sigma_data: float
) -> Tensor:
    """lambda(sigma), the weight of the squared error of the denoiser."""
    if weighting == "output":
        return coefficients(name, sigma, sigma_data).out ** -2
    if weighting == "x0":
        return torch.full_like(sigma, sigma_data**-2)
    if weighting == "epsilon":
        return sigma**-2
    if weighting == "edm":
        return sigma**-2 + sigma_data**-2
    return (sigma**-2).clamp(max=5 * sigma_data**-2)
