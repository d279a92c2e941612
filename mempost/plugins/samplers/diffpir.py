"""DiffPIR: plug-and-play restoration with a diffusion denoiser, by half-quadratic splitting.

Every step denoises and then solves a proximal problem of the data, with m = E[x | z_t]:

    x = argmin_x |y - G x|^2 / (2 gamma^2) + lambda / (2 v) |x - m|^2,        v = s^2/a^2
      = m + c A^T (c A A^T + I)^-1 r,                                          c = v / lambda

(A, r whitened): the Gaussian update of the mean m under the covariance c I. The noise that is put
back is partly new (see `renoising`; zeta of the paper is eta^2 here).

As a guided denoiser it is PiGDM with the ratio variance and dm/dz_t replaced by c a/s^2: no
derivative of the network is taken. The result is an estimate of x rather than a draw of it: no
choice of lambda makes the spread right at all levels.

Reference: Zhu, Zhang, Liang, Cao, Wen, Timofte & Van Gool 2023, "Denoising diffusion models for
plug-and-play image restoration".
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.problem import InverseProblem
from mempost.core.solver import Step
from mempost.core.streams import Stream
from mempost.methods.bibliography import ZHU_2023_DIFFPIR
from mempost.methods.chains.renoising import RenoisingSampler
from mempost.methods.posteriors.linear_model import linear_model, require_linear


class DiffPIR(RenoisingSampler):
    """Plug-and-play restoration: denoise, solve the data's proximal problem, put noise back.

    Noise level: used, at its true value (with ``strength`` as a factor). Assumes: p(x | z_t) is
    Gaussian with covariance (s^2/a^2)/strength, and takes its conditional mean for a draw. Linear
    operators only, for which the proximal problem has a closed form. Cost: one singular value
    decomposition in all; of a step, one denoiser call and no derivative.
    """

    tags = frozenset({"linear", "needs_gradient", "uses_noise_level"})
    publications = (ZHU_2023_DIFFPIR,)

    eta: float = Field(
        0.5, ge=0, le=1, description="share of new noise, the root of the paper's zeta"
    )
    strength: float = Field(
        1.0, gt=0, description="lambda: weight of the denoiser against the data"
    )

    def check(self, problem: InverseProblem) -> None:
        require_linear(problem, "diffpir")

    def estimate(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        mean = problem.prior.denoise(z, step.level)
        a, s = step.level.columns(z)
        c = (s / a) ** 2 / self.strength
        return mean + c * linear_model(problem).update(mean, c)
