"""The noise level as features: sines and cosines of the clock.

    phi(c) = (sin(w_0 c), ..., sin(w_{m-1} c), cos(w_0 c), ..., cos(w_{m-1} c)),
    w_k = 10^(-4 k / (m - 1))

References: Vaswani et al. 2017, "Attention is all you need"; Ho, Jain & Abbeel 2020, "Denoising
diffusion probabilistic models".
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoidal(clock: Float[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """``width`` features (an even number) of the clock."""
    half = width // 2
    exponents = torch.arange(half, dtype=clock.dtype, device=clock.device) / max(half - 1, 1)
    angles = clock[:, None] * torch.exp(-math.log(1e4) * exponents)
    return torch.cat([angles.sin(), angles.cos()], -1)
