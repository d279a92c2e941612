"""The Jacobian of all data by reciprocity, from one solve a source and at most one a receiver.

A is symmetric, so the field of a source placed at a receiver is the adjoint field of that receiver.
With U = A^-1 E f for source f, V = A^-1 E r for receiver r, d = r^T E U, and e h^2 from
E = I - e h^2 W, the derivative with respect to w at node p is

    k_p = -(1/2) [ V (M U + 2 e h^2 f) + (M V + 2 e h^2 r) U ]_p.

Times omega^2 s_x s_z, and folded from the absorbing layers to the edge of the model, this is the
row of the Jacobian in squared slowness that belongs to the pair.

The row is linear in r. Where the receivers' weights are R = C Q with fewer rows in Q than in R, it
is enough to solve and to multiply for those of Q: 196 receivers on a line of 50 nodes cost what 56
do. Receivers are taken in groups, so that memory does not grow with their number.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mempost.methods.waves.interpolation import Reading
from mempost.methods.waves.solve import Factorisation

GROUP = 64
"""Receivers whose fields are held at once."""


def jacobian_products(
    factorisation: Factorisation,
    m: Float[Tensor, "n_x n_z"],
    sources: Reading,
    receivers: tuple[Reading, Complex[Tensor, "r q"] | None],
    basis: Float[Tensor, "d k"] | None,
) -> tuple[Complex[Tensor, "s r"], Complex[Tensor, "s*r k"]]:
    """Data and J B at one model.

    Args:
        factorisation: the discrete operator and its solver.
        m: squared slowness, s^2/km^2.
        sources: where waves start.
        receivers: where they are read, as Q and C (see `Reading.reduced`).
        basis: B, columns in the space of models; None for the identity.
    """
    d, area = factorisation.discretisation, factorisation.discretisation.grid.spacing**2
    w = d.density(m)
    read, factor = d.reading(w), -0.5 * d.density_factor(m)
    local = 2 * d.stencil.reading * area

    def fields(points: Reading, scale: float) -> tuple[Tensor, Tensor]:
        """A^-1 E f and M A^-1 E f + 2 e h^2 f for impulses f at points."""
        impulses = scale * points.spread(torch.ones_like(w))
        u = factorisation.solve(w[None], (read * impulses)[None])[0]
        return u, d.mass(u) + local * impulses

    independent, mixing = receivers
    us, mus = fields(sources, 1 / area)
    groups: list[list[Tensor]] = [[] for _ in us]
    for part in independent.parts(GROUP):
        v, mv = (factor * field for field in fields(part, 1.0))
        for rows, u, mu in zip(groups, us, mus, strict=True):
            kernel = d.grid.fold(v * mu + mv * u).flatten(1)
            rows.append(kernel if basis is None else _times_real(kernel, basis))
    data, found = independent.read(us, read), [torch.cat(rows) for rows in groups]
    if mixing is not None:
        data, found = data @ mixing.mT, [mixing @ rows for rows in found]
    return data, torch.cat(found)


def _times_real(a: Complex[Tensor, "q d"], b: Float[Tensor, "d k"]) -> Complex[Tensor, "q k"]:
    return torch.complex(a.real @ b, a.imag @ b)
