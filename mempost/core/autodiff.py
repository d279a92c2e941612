"""A value and its pullback by torch's reverse mode, at half the overhead of `torch.func.vjp`.

Samplers call this many thousand times on small tensors. It starts a graph of its own and so does
not compose with transforms from outside; where that is needed, `torch.func` is the tool.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Pullback = Callable[[Tensor], Tensor]


def value_and_pullback(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Pullback]:
    """f(x) and v -> (df/dx)^T v, which may be called more than once."""
    with torch.enable_grad():
        u = x.detach().requires_grad_()
        value = f(u)

    def pullback(v: Tensor) -> Tensor:
        if not value.requires_grad:  # a constant, such as the denoiser of a single atom
            return torch.zeros_like(x)
        return torch.autograd.grad(value, u, v, retain_graph=True)[0]

    return value.detach(), pullback
