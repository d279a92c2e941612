"""The probability flow by an embedded Runge-Kutta pair, every row with steps of its own.

In u = z/a and the time tau = -log sigma, sigma = s/a, the flow reads

    du/dtau = m(u, e^-tau) - u,        m = E[x | z] or E[x | z, y],

whatever the schedule is, and tau runs on as far as is wanted: paths that end on an atom approach it
like e^-tau. A step of the pair of orders 5 and 4 is accepted where the difference e of both obeys

    rms(e) <= tolerance sigma' + 8 eps max|u|,

sigma' the level at its end: errors count in units of the noise that is left, since it is at this
scale that the flow decides. Then h <- h min(5, max(1/5, 0.9 err^(-1/5))), at most 1. Levels between
the steps come from the pair's interpolant of order 4, which costs no call of the denoiser.

References: Dormand & Prince 1980, "A family of embedded Runge-Kutta formulae"; Hairer, Norsett &
Wanner 1993, "Solving ordinary differential equations I" (the interpolant, II.6).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.errors import MempostError, NonFiniteError
from mempost.core.flow import Denoise
from mempost.core.level import NoiseLevel
from mempost.core.solver import AdaptiveSolver
from mempost.methods.bibliography import DORMAND_1980_RUNGE

NODES = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
DENSE = (
    -12715105075 / 11282082432,
    0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)
FIRST, LONGEST = 0.05, 1.0
"""First and longest step, in units of tau."""


class DormandPrince(AdaptiveSolver):
    """The probability flow with error-controlled steps, a step size for every row.

    Cost of a step: six denoiser calls a row; levels in between cost none. Nothing is random but the
    start. For guidances that act after a step, ddim and heun are there.
    """

    publications = (DORMAND_1980_RUNGE,)

    tolerance: float = Field(
        1e-5, gt=0, le=0.1, description="error of a step in units of the noise level at its end"
    )
    max_steps: int = Field(10_000, ge=1, description="of a row, before it is given up")

    def integrate(
        self,
        denoise: Denoise,
        z: Float[Tensor, "batch d"],
        level: NoiseLevel,
        targets: Sequence[NoiseLevel],
    ) -> list[Float[Tensor, "batch d"]]:
        u, tau = z / level.columns(z)[0], _tau(level, z)
        goals = torch.stack([_tau(target, z) for target in targets])
        found = z.new_empty(len(targets), *z.shape)
        found[goals <= tau] = u.expand_as(found)[goals <= tau]
        slope = _slope(denoise, u, tau)
        size = torch.full_like(tau, FIRST)
        for _ in range(self.max_steps):
            rows = torch.nonzero(tau < goals[-1])[:, 0]
            if len(rows) == 0:
                return [target.columns(z)[0] * x for target, x in zip(targets, found)]
            start, left = tau[rows], goals[-1, rows] - tau[rows]
            h = torch.minimum(size[rows], left)
            slopes = _stages(denoise, u[rows], start, h, slope[rows])
            end = u[rows] + h[:, None] * _combine(STAGES[-1], slopes)
            error = self._error(u[rows], end, start + h, h[:, None] * _combine(ERROR, slopes))
            _require_finite(error, rows)
            taken = error <= 1
            size[rows] = (h * (0.9 * error.clamp(min=1e-10) ** -0.2).clamp(0.2, 5)).clamp(
                max=LONGEST
            )
            done = rows[taken]
            stop = torch.where(h >= left, goals[-1, rows], start + h)
            passed = taken & (goals[:, rows] > start) & (goals[:, rows] <= stop)
            k, i = torch.nonzero(passed, as_tuple=True)
            share = ((goals[k, rows[i]] - start[i]) / h[i])[:, None]
            inside = _interpolate(u[rows][i], end[i], h[i, None], [f[i] for f in slopes], share)
            found[k, rows[i]] = inside
            u[done], tau[done], slope[done] = end[taken], stop[taken], slopes[-1][taken]
        worst = int(torch.nonzero(tau < goals[-1])[0])
        raise MempostError(
            f"dormand_prince: after max_steps = {self.max_steps} steps row {worst} of the tile is "
            f"at sigma = {float((-tau[worst]).exp()):.3g}; give a larger tolerance or sigma_min"
        )

    def _error(self, u: Tensor, end: Tensor, tau: Tensor, difference: Tensor) -> Tensor:
        """The error of a step in units of what is allowed, a number a row."""
        largest = torch.maximum(u.abs().amax(-1), end.abs().amax(-1))
        allowed = self.tolerance * (-tau).exp() + 8 * torch.finfo(u.dtype).eps * largest
        return difference.square().mean(-1).sqrt() / allowed


def _tau(level: NoiseLevel, z: Tensor) -> Float[Tensor, " batch"]:
    a, s = level.columns(z)
    return -(s / a).log()[:, 0].expand(len(z)).clone()


def _slope(denoise: Denoise, u: Tensor, tau: Tensor) -> Tensor:
    return denoise(u, NoiseLevel(torch.ones_like(tau), (-tau).exp())) - u


def _stages(denoise: Denoise, u: Tensor, tau: Tensor, h: Tensor, first: Tensor) -> list[Tensor]:
    """The seven slopes of a step; the last one is the first of the next step."""
    slopes = [first]
    for node, row in zip(NODES[1:], STAGES, strict=True):
        slopes.append(_slope(denoise, u + h[:, None] * _combine(row, slopes), tau + node * h))
    return slopes


def _combine(coefficients: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    terms = [c * f for c, f in zip(coefficients, slopes) if c]
    return torch.stack(terms).sum(0)


def _interpolate(
    u: Tensor, end: Tensor, h: Tensor, slopes: Sequence[Tensor], share: Tensor
) -> Tensor:
    """The state at the given share of a step, which is u at 0 and ``end`` at 1."""
    rise = end - u
    bend = h * slopes[0] - rise
    twist = rise - h * slopes[-1] - bend
    rest = h * _combine(DENSE, slopes)
    back = 1 - share
    return u + share * (rise + back * (bend + share * (twist + back * rest)))


def _require_finite(error: Tensor, rows: Tensor) -> None:
    if not torch.isfinite(error).all():
        raise NonFiniteError("slope of the flow", sample=int(rows[~torch.isfinite(error)][0]))
