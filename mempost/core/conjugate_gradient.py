"""Conjugate gradients for (I + H C) u = g with positive semi-definite H and C, row by row.

These are the equations of a Gaussian update: with whitened Jacobian A, H = A^T A and prior
covariance C, the vector u = (I + H C)^-1 A^T r equals A^T (A C A^T + I)^-1 r, and C u is the shift
of the mean. I + H C is self-adjoint and positive in the inner product <u, v> = u^T C v, in which
the method of Hestenes & Stiefel (1952) is run. It needs products with H and C only, one of each
an iteration, and returns C u along with u.

Reference: Hestenes & Stiefel 1952, "Methods of conjugate gradients for solving linear systems".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.autodiff import Product
from mempost.core.counters import tally
from mempost.core.sampler import require_finite


def solve_update(
    hessian: Product,
    covariance: Product,
    g: Float[Tensor, "batch d"],
    tolerance: float,
    max_iterations: int,
) -> tuple[Float[Tensor, "batch d"], Float[Tensor, "batch d"]]:
    """u = (I + H C)^-1 g and C u, for every row of g on its own.

    A row stops when its residual, in the norm of C, has fallen by the factor ``tolerance``, where
    rounding has made the curvature non-positive, or after ``max_iterations``. Iterations are
    counted as ``cg_iterations``, rows that ran out of them as ``cg_unconverged``.

    Args:
        hessian: v -> H v, (batch, d), each row with its own H.
        covariance: v -> C v, likewise.
        g: right-hand sides.
        tolerance: relative size of the residual at which a row stops.
        max_iterations: the most iterations of any row.

    Raises:
        NonFiniteError: a right-hand side or a product was not finite.
    """
    require_finite(g, "right-hand side of the Gauss-Newton equations")
    u, cu = torch.zeros_like(g), torch.zeros_like(g)
    residual, c_residual = g, covariance(g)
    p, cp = residual, c_residual
    rho = _dot(residual, c_residual)
    goal = tolerance**2 * rho
    active = rho > 0
    for _ in range(max_iterations):
        if not active.any():
            break
        tally("cg_iterations", int(active.sum()))
        q = p + hessian(cp)
        curvature = _dot(cp, q)
        active = active & (curvature > 0)
        alpha = torch.where(active, rho / torch.where(active, curvature, 1), 0)
        u, cu = u + alpha * p, cu + alpha * cp
        residual = residual - alpha * q
        c_residual = covariance(residual)
        previous, rho = rho, _dot(residual, c_residual)
        active = active & (rho > goal)
        beta = torch.where(active, rho / torch.where(active, previous, 1), 0)
        p, cp = residual + beta * p, c_residual + beta * cp
    tally("cg_unconverged", int(active.sum()))
    require_finite(residual, "residual of conjugate gradients")
    return u, cu


def _dot(u: Tensor, v: Tensor) -> Float[Tensor, "batch 1"]:
    return (u * v).sum(-1, keepdim=True)
