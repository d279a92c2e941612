"""The Euler-Maruyama step of the reverse SDE.

With S = (a m - z)/s^2 the score that belongs to the denoised mean m, a step from t to t - h is

    z' = z - h (f z - g^2 S) + sqrt(h) g n,        n ~ N(0, I).

Reference: Anderson 1982, "Reverse-time diffusion equation models"; Song, Sohl-Dickstein, Kingma,
Kumar, Ermon & Poole 2021, "Score-based generative modeling through stochastic differential
equations".
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from mempost.core.flow import Denoise, numbers
from mempost.core.solver import FixedSolver, Step
from mempost.core.streams import Stream
from mempost.methods.bibliography import SONG_2021_SCORE


class EulerMaruyama(FixedSolver):
    """The Euler-Maruyama step of the reverse SDE: new noise at every step.

    Cost of a step: one denoiser call. Error in law: O(1/steps).
    """

    publications = (SONG_2021_SCORE,)

    def step(
        self, denoise: Denoise, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        a, s = numbers(step.level, z)
        h, g2 = step.t - step.t_next, step.diffusion_squared
        score = (a * denoise(z, step.level) - z) / s**2
        noise = stream.normal(tuple(z.shape), z.dtype, z.device)
        return z - h * (step.drift * z - g2 * score) + math.sqrt(h * g2) * noise
