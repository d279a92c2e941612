"""The one primitive that torch differentiates: u = A(w)^-1 b.

A is complex-symmetric and u is holomorphic in w and b, so with A' v = (M v + v M)/2,

    tangent     du = A^-1 (db - (A' dw) u)
    adjoint     l = A^-1 conj(g),   grad_b = conj(l),   grad_w = -conj(sum_k u M l + l M u)/2

(torch's gradient of a real loss is conjugate to the holomorphic derivative). Both directions are
solves with the same factorisation, done by the same primitive, and so may be differentiated again.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from mempost.core.counters import tally
from mempost.methods.waves.backends.protocol import (
    Analysis,
    Factors,
    Layout,
    SparseBackend,
)
from mempost.methods.waves.bands import apply
from mempost.methods.waves.checks import check_models
from mempost.methods.waves.discretisation import Discretisation

RESIDUAL = {torch.complex64: 1e-4, torch.complex128: 1e-12}
"""A larger relative residual is refined."""


class Factorisation:
    """The factors of A(w), computed when they are first needed and kept as long as w stays.

    Args:
        discretisation: grid, stencil and frequency.
        backend: the sparse solver.
        distance: typical distance between sources and receivers (km), for the expected error.
    """

    def __init__(
        self, discretisation: Discretisation, backend: SparseBackend, distance: float
    ) -> None:
        self.discretisation = discretisation
        self.backend = backend
        self.distance = distance
        self._kept: tuple[Tensor, Tensor, Factors] | None = None

    def check(self, m: Float[Tensor, "batch n_x n_z"]) -> None:
        """Refuse squared slowness that `check_models` refuses."""
        check_models(m, self.discretisation, self.distance)

    def analysis(self, dtype: torch.dtype) -> Analysis:
        """The symbolic phase of the backend."""
        d = self.discretisation
        return self.backend.analyse(Layout(d.grid.padded_shape, d.offsets), dtype)

    def solve(
        self, w: Complex[Tensor, "batch N_x N_z"], b: Complex[Tensor, "batch k N_x N_z"]
    ) -> Complex[Tensor, "batch k N_x N_z"]:
        """A(w)^-1 b for plain tensors, k right-hand sides of each model."""
        bands, factors = self._factors(w)
        b = b.resolve_conj().resolve_neg()
        u = factors.solve(b)
        tally("pde_solves", len(b) * b.shape[1])
        for _ in range(self.backend.refinement):
            inexact = self._inexact(bands, u, b)
            if not inexact.any():
                break
            correction = factors.solve(self._residual(bands, u, b))
            tally("pde_solves", len(b) * b.shape[1])
            u = torch.where(inexact[:, None, None, None], u + correction, u)
        return u

    def _residual(self, bands: Tensor, u: Tensor, b: Tensor) -> Tensor:
        return b - apply(bands.unsqueeze(1), self.discretisation.offsets, u)

    def _inexact(self, bands: Tensor, u: Tensor, b: Tensor) -> Bool[Tensor, " batch"]:
        """Models whose relative residual is too large, judged by the sum of right-hand sides.

        What a small pivot spoils, it spoils for all of them; the sum costs next to nothing.
        """
        total = b.sum(1, keepdim=True)
        residual = self._residual(bands, u.sum(1, keepdim=True), total)
        return _square(residual) > RESIDUAL[b.dtype] ** 2 * _square(total)

    def _factors(self, w: Complex[Tensor, "batch N_x N_z"]) -> tuple[Tensor, Factors]:
        if self._kept is None or not torch.equal(self._kept[0], w):
            d = self.discretisation
            self.check(d.squared_slowness(w))
            bands = d.matrix(w)
            factors = self.analysis(w.dtype).factor(bands)
            tally("factorisations", len(w))
            self._kept = w.detach().clone(), bands, factors
        return self._kept[1], self._kept[2]


def _square(u: Complex[Tensor, "batch k N_x N_z"]) -> Float[Tensor, " batch"]:
    """|u|^2 of each model; far faster than torch's norm of complex numbers."""
    return torch.view_as_real(u).square().flatten(1).sum(1)


class Solve(torch.autograd.Function):
    """``Solve.apply(w, b, factorisation)``: w (batch, N_x, N_z), b (batch, k, N_x, N_z)."""

    @staticmethod
    def forward(w: Tensor, b: Tensor, factorisation: Factorisation) -> Tensor:
        return factorisation.solve(w, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        w, _, ctx.factorisation = inputs
        ctx.save_for_backward(w, output)
        ctx.save_for_forward(w, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        w, u = ctx.saved_tensors
        adjoint = Solve.apply(w, g.conj(), ctx.factorisation)
        grad_w = grad_b = None
        if ctx.needs_input_grad[0]:
            mass = ctx.factorisation.discretisation.mass
            grad_w = (-0.5 * (u * mass(adjoint) + adjoint * mass(u)).sum(1)).conj()
        if ctx.needs_input_grad[1]:
            grad_b = adjoint.conj()
        return grad_w, grad_b, None

    @staticmethod
    def jvp(ctx: Any, dw: Tensor | None, db: Tensor | None, _: None) -> Tensor:
        w, u = ctx.saved_tensors
        right = torch.zeros_like(u) if db is None else db
        if dw is not None:
            mass, v = ctx.factorisation.discretisation.mass, dw.unsqueeze(1)
            right = right - 0.5 * (mass(v * u) + v * mass(u))
        return Solve.apply(w, right, ctx.factorisation)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, int | None, None],
        w: Tensor,
        b: Tensor,
        factorisation: Factorisation,
    ) -> tuple[Tensor, int]:
        w_dim, b_dim, _ = in_dims
        n = info.batch_size
        if w_dim is None:  # one matrix for all: more right-hand sides
            assert b_dim is not None
            b = b.movedim(b_dim, 1)
            u = Solve.apply(w, b.flatten(1, 2), factorisation)
            return u.unflatten(1, (n, -1)), 1
        w = w.movedim(w_dim, 0)
        b = b.expand(n, *b.shape) if b_dim is None else b.movedim(b_dim, 0)
        u = Solve.apply(w.flatten(0, 1), b.flatten(0, 1), factorisation)
        return u.unflatten(0, (n, -1)), 0
