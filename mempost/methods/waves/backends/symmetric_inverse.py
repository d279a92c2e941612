"""Inverses of batches of complex-symmetric matrices, by halves.

    [P   Q]^-1     [P^-1 + V W^T   -V  ]
    [Q^T R]     =  [-V^T          S^-1 ],    W = P^-1 Q, S = R - Q^T W, V = W S^-1,

so that nearly all the work is products of matrices, at several times the speed of batched LU
factors applied to the identity. There is no pivoting between halves.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex
from torch import Tensor

LEAF = 17
"""Blocks of at most this size are inverted by LAPACK, or by its like on other devices."""


def symmetric_inverse(a: Complex[Tensor, "batch n n"]) -> Complex[Tensor, "batch n n"]:
    """a^-1 for complex-symmetric a."""
    n = a.shape[-1]
    if n <= LEAF:
        return torch.linalg.inv(a)
    h = n // 2
    p = symmetric_inverse(a[..., :h, :h])
    q = a[..., :h, h:]
    w = p @ q
    s = symmetric_inverse(a[..., h:, h:] - q.mT @ w)
    v = w @ s
    inverse = torch.empty_like(a)
    inverse[..., :h, :h] = torch.baddbmm(p, v, w.mT)
    inverse[..., :h, h:] = -v
    inverse[..., h:, :h] = -v.mT
    inverse[..., h:, h:] = s
    return inverse
