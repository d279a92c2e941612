"""Denoising diffusion restoration: the data enter each singular direction at its own noise level.

In the whitened model b = A x + e with A = U diag(S) V^T, direction i is observed as ybar_i = (U^T
b)_i / S_i with noise of standard deviation 1/S_i. For u = z/a and sigma = s/a, let m = E[x | z_t],
and write m_i, u_i for coordinates along the columns of V, n ~ N(0, 1). The next u_i is

    not observed        m_i + sqrt(1 - eta^2) sigma' (u_i - m_i)/sigma + eta sigma' n
    sigma' < 1/S_i      m_i + sqrt(1 - eta^2) sigma' (ybar_i - m_i) S_i + eta sigma' n
    sigma' >= 1/S_i     (1 - eta_b) m_i + eta_b ybar_i + sqrt(sigma'^2 - eta_b^2/S_i^2) n

and the chain starts from ybar_i + sqrt(sigma^2 - 1/S_i^2) n where that is possible. If m were the
truth, u would be N(x, sigma^2 I) at every level, over the noise of the data.

The spread of the draws depends on the number of steps, and falls with it: in the second line the
data pull with sigma' while the new noise adds sigma'^2. There are 20 by default, as published.

Reference: Kawar, Elad, Ermon & Song 2022, "Denoising diffusion restoration models".
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.iterative import SamplerState
from mempost.core.problem import InverseProblem
from mempost.core.reverse import ReverseProcess
from mempost.core.solver import Step
from mempost.core.streams import Stream
from mempost.methods.bibliography import KAWAR_2022_DDRM
from mempost.methods.posteriors.linear_model import Spectrum, linear_model, require_linear


class DDRM(ReverseProcess):
    """Denoising diffusion restoration (linear operators), in the operator's singular directions.

    Noise level: used, at its true value. Assumes: E[x | z_t] is the truth; the data act on z_t
    directly, never through the denoiser's derivative, so that what they say of one direction
    reaches others only through later denoising. Linear operators only. Cost: one singular value
    decomposition in all; of a step, one denoiser call and no derivative.
    """

    tags = frozenset({"linear", "needs_gradient", "uses_noise_level"})
    publications = (KAWAR_2022_DDRM,)

    steps: int = Field(20, ge=1, description="steps, the last one to x", examples=[12])
    eta: float = Field(0.85, ge=0, le=1, description="share of new noise where data are weak")
    eta_b: float = Field(1.0, ge=0, le=1, description="weight of the data where they are strong")

    def check(self, problem: InverseProblem) -> None:
        require_linear(problem, "ddrm")

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        state = super().init(problem, stream)
        (_, S, Vt), ybar = _observed(problem)
        z, level = state["z"], self.reverse_steps[0].level
        u, sigma = z / level.a, float(level.s) / float(level.a)
        noise = stream.normal(tuple(z.shape), z.dtype, z.device) @ Vt.T
        p = ybar + (sigma**2 - S**-2).clamp(min=0).sqrt() * noise
        p = torch.where(sigma * S >= 1, p, u @ Vt.T)
        return {"z": level.a * (u + (p - u @ Vt.T) @ Vt)}

    def move(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        mean = problem.prior.denoise(z, step.level)
        if step.is_clean:
            return mean
        (_, S, Vt), ybar = _observed(problem)
        sigma = float(step.level.s) / float(step.level.a)
        sigma_next = float(step.next_level.s) / float(step.next_level.a)
        keep = math.sqrt(1 - self.eta**2)
        noise = stream.normal(tuple(z.shape), z.dtype, z.device)
        new = self.eta * sigma_next * noise
        u = mean + keep * sigma_next * (z / step.level.a - mean) / sigma + new
        m = mean @ Vt.T
        weak = m + keep * sigma_next * (ybar - m) * S + new @ Vt.T
        spread = (sigma_next**2 - (self.eta_b / S) ** 2).clamp(min=0).sqrt()
        strong = (1 - self.eta_b) * m + self.eta_b * ybar + spread * (noise @ Vt.T)
        p = torch.where(sigma_next * S >= 1, strong, weak)
        return step.next_level.a * (u + (p - u @ Vt.T) @ Vt)


def _observed(problem: InverseProblem) -> tuple[Spectrum, Float[Tensor, " p"]]:
    """The singular directions that the data see, and ybar."""
    model = linear_model(problem)
    U, S, Vt = model.spectrum
    rounding = torch.finfo(S.dtype).eps * max(model.A.shape)
    seen = S / S.max() > rounding
    U, S, Vt = U[:, seen], S[seen], Vt[seen]
    return Spectrum(U, S, Vt), (model.b @ U) / S
