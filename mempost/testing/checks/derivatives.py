"""Checks of the derivatives of forward operators.

All inner products are over the reals, <u, v> = Re(u^H v). With J the Jacobian at x:

    dot test       <J v, w> = <v, J^T w>
    Taylor test    |F(x + h v) - F(x) - h J v| = O(h^2), and the same for phi(x) = <F(x), w>,
                   whose gradient J^T w is what samplers use

Directions v are random, smooth (a half wave along every axis) and at the edge (first and last
entries of every axis): padding and boundary layers are where adjoints go wrong.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from mempost.core.autodiff import value_and_products
from mempost.core.noise import stack
from mempost.core.streams import Streams
from mempost.testing.checks.operators import CHECKS, SOLVES, OperatorCase
from mempost.testing.comparison import require, require_close


def real_dot(u: Tensor, v: Tensor) -> Tensor:
    """Re(u^H v)."""
    return (u.conj() * v).real.sum()


@CHECKS.add()
def dot_test(case: OperatorCase) -> None:
    """`vjp` is not the adjoint of `jvp` over the reals: <J v, w> differs from <v, J^T w>."""
    w = case.cotangent()
    pulled = case.operator.vjp(case.x, w)[1]
    for name, v in case.directions.items():
        v = v.expand_as(case.x).contiguous()
        pushed = case.operator.jvp(case.x, v)[1]
        difference = abs(float(real_dot(pushed, w) - real_dot(v, pulled)))
        size = float(pushed.norm() * w.norm() + v.norm() * pulled.norm())
        require(
            difference <= SOLVES * size,
            f"In the {name} direction they differ by {difference:.3g}, of {size:.3g}.",
        )


@CHECKS.add()
def jvp_matches_vjp(case: OperatorCase) -> None:
    """`jvp`, `vjp` and torch's own differentiation of `forward` give different Jacobians."""
    w = case.cotangent()
    value, pulled = case.operator.vjp(case.x, w)
    require_close(value, case.operator(case.x), "The value that vjp returns", SOLVES)
    own = torch.func.vjp(case.operator, case.x)[1](w)[0]
    require_close(pulled, own, "vjp and torch.func.vjp of the operator", SOLVES)
    v = case.directions["random"].expand_as(case.x).contiguous()
    value, pushed = case.operator.jvp(case.x, v)
    require_close(value, case.operator(case.x), "The value that jvp returns", SOLVES)
    own = torch.func.jvp(case.operator, (case.x,), (v,))[1]
    require_close(pushed, own, "jvp and torch.func.jvp of the operator", SOLVES)
    value, push, pull = value_and_products(lambda x: stack(case.operator(x)), case.x)
    require_close(push(v), stack(pushed), "jvp and the pullback of the pullback", SOLVES)
    require_close(pull(stack(w)), pulled, "vjp and the pullback of the operator", SOLVES)


@CHECKS.add()
def jacobian_matches_jvp(case: OperatorCase) -> None:
    """`jacobian` does not hold the products that `jvp` gives, with a basis or without."""
    x, d = case.x[:2], math.prod(case.shape)
    basis = torch.stack([v.flatten() for v in case.directions.values()], -1)
    columns = [
        case.operator.jvp(x, v.expand_as(x).contiguous())[1].flatten(1)
        for v in case.directions.values()
    ]
    value, product = case.operator.jacobian(x, basis[None])
    require_close(value, case.operator(x), "The value that jacobian returns", SOLVES)
    require_close(product, torch.stack(columns, -1), "jacobian(x, B) and jvp", SOLVES)
    if d <= 400:
        full = case.operator.jacobian(x)[1]
        require_close(full @ basis.to(full.dtype), product, "jacobian(x) B", SOLVES)


@CHECKS.add()
def jacobian_matches_finite_differences(case: OperatorCase) -> None:
    """Columns of the Jacobian are not the central differences of F."""
    x, d = case.x[:1], math.prod(case.shape)
    columns = list(range(d))
    if d > 40:
        middle = Streams(0, "metric").at().integers(d, (20,)).tolist()
        columns = sorted({0, d - 1, case.shape[-1] - 1, d - case.shape[-1], *middle})
    basis = torch.eye(d).double()[:, columns]
    h = case.scale * 6e-6
    steps = h * basis.mT.reshape(-1, *case.shape)
    difference = (case.operator(x + steps) - case.operator(x - steps)).flatten(1).mT / (2 * h)
    product = case.operator.jacobian(x, basis[None])[1][0]
    require_close(product, difference, "Jacobian and central differences", 1e-5)


@CHECKS.add()
def taylor_slope(case: OperatorCase) -> None:
    """The remainder of the first-order expansion does not fall like h^2, with `jvp` or `vjp`."""
    x, w = case.x[:1], case.cotangent()[:1]
    value, gradient = case.operator.vjp(x, w)
    for name, v in case.directions.items():
        tangent = case.operator.jvp(x, v)[1]
        slope_of_phi = real_dot(gradient, v)
        pushed, pulled = [], []
        steps = [2.0**-k for k in range(3, 12)]
        for h in steps:
            change = case.operator(x + h * v) - value
            pushed.append(float((change - h * tangent).abs().max()))
            pulled.append(abs(float(real_dot(change, w) - h * slope_of_phi)))
        size = float(value.abs().max() + tangent.abs().max())
        _require_second_order(pushed, steps, 1e-11 * size, f"jvp in the {name} direction")
        size = float(value.norm() + tangent.norm()) * float(w.norm())
        _require_second_order(pulled, steps, 1e-11 * size, f"vjp in the {name} direction")


def _require_second_order(
    remainders: list[float], steps: list[float], floor: float, what: str
) -> None:
    """The median slope among remainders above rounding is at least 1.8."""
    points = [(math.log(h), math.log(r)) for h, r in zip(steps, remainders) if r > floor]
    slopes = sorted((r0 - r1) / (h0 - h1) for (h0, r0), (h1, r1) in pairwise(points))
    if slopes:
        median = slopes[len(slopes) // 2]
        require(median >= 1.8, f"{what}: the remainder falls with the power {median:.2f} of h.")
