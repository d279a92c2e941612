"""Values with products of the Jacobian, by torch's reverse mode.

Samplers ask for these many thousand times on small tensors, where the overhead counts:
`torch.func.vjp` takes twice, `torch.func.jvp` thirty times as long. The graphs are their own, so
these functions do not compose with transforms from outside; there `torch.func` is the tool.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


def value_and_pullback(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Product]:
    """f(x) and v -> (df/dx)^T v, which may be called more than once."""
    with torch.enable_grad():
        u = x.detach().requires_grad_()
        value = f(u)

    def pullback(v: Tensor) -> Tensor:
        if not value.requires_grad:  # a constant, such as the denoiser of a single atom
            return torch.zeros_like(x)
        return torch.autograd.grad(value, u, v, retain_graph=True)[0]

    return value.detach(), pullback


def value_and_products(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Product, Product]:
    """f(x), v -> J v and w -> J^T w, from one evaluation of f.

    J v is the pullback of the pullback, which is linear: f has to be differentiable twice.
    """
    with torch.enable_grad():
        u = x.detach().requires_grad_()
        value = f(u)
        w = torch.zeros_like(value, requires_grad=True)
        pulled = torch.autograd.grad(value, u, w, create_graph=True)[0]

    def jvp(v: Tensor) -> Tensor:
        return torch.autograd.grad(pulled, w, v, retain_graph=True)[0]

    def vjp(v: Tensor) -> Tensor:
        return torch.autograd.grad(value, u, v, retain_graph=True)[0]

    return value.detach(), jvp, vjp
