"""Tweedie moment projected diffusion: x given z_t as a Gaussian with its own covariance.

With m = E[x | z_t], J = dm/dz_t, and C = Cov[x | z_t] = (s^2/a) J^T (second-order Tweedie), p(x |
z_t) is taken as N(m, C), so that whitened data are N(A m, A C A^T + I) and

    grad log p(y | z_t)  is taken as  J^T A^T (A C A^T + I)^-1 r,        r = b - A m.

The mean and the covariance are the true ones; that C depends on z_t is neglected in the gradient.
For a Gaussian prior it does not, and the method is exact. The m x m systems are formed and solved;
`mmps` solves the same ones by conjugate gradients.

Reference: Boys, Girolami, Pidstrigach, Reich, Mosca & Akyildiz 2023, "Tweedie moment projected
diffusions for inverse problems".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.denoised import Denoised
from mempost.core.guidance import Guidance
from mempost.core.problem import InverseProblem
from mempost.methods.bibliography import BOYS_2023_TMPD
from mempost.methods.posteriors.linear_model import linear_model, require_linear


class TMPDGuidance(Guidance):
    """Tweedie moment projection (linear operators), with the full covariance.

    Noise level: used, at its true value. Assumes: p(x | z_t) is Gaussian, its covariance locally
    constant; exact for a Gaussian prior. Linear operators only. Cost of a step: one denoiser call,
    one pullback for each of the m data, and an m x m solution: for few data.
    """

    tags = frozenset({"linear", "needs_gradient", "uses_noise_level"})
    publications = (BOYS_2023_TMPD,)

    def check(self, problem: InverseProblem) -> None:
        require_linear(problem, "tmpd")

    def likelihood_score(self, problem: InverseProblem, at: Denoised) -> Float[Tensor, "batch d"]:
        model = linear_model(problem)
        pulled = torch.stack([at.vjp(row.expand_as(at.z)) for row in model.A], 1)  # (AJ)_i
        K = (at.s**2 / at.a)[..., None] * pulled @ model.A.T
        K = K + torch.eye(len(model.b), dtype=K.dtype, device=K.device)
        w = torch.linalg.solve(K.mT, model.residual(at.mean))
        return (w[:, None] @ pulled)[:, 0]
