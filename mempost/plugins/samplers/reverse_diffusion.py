"""Unconditional reverse diffusion: samples of the prior through its score at every noise level.

The integrators and their equations stand in `mempost.core.reverse`. The data are not used: as an
answer to an inverse problem this is the prior, and a baseline for every guided sampler.
"""

from __future__ import annotations

from mempost.core.reverse import ReverseSampler
from mempost.plugins.bibliography import KARRAS_2022_EDM, SONG_2021_DDIM, SONG_2021_SCORE


class ReverseDiffusion(ReverseSampler):
    """Samples of the prior by reverse diffusion, without the data.

    Noise level: not used. Assumes: nothing of the operator. Cost of a step: one denoiser call
    (heun: two). Error with the exact score: O(1/steps) for ddim and euler_maruyama, O(1/steps^2)
    for heun, plus what is lost by starting from noise (``start``) and below ``t_min``.
    """

    publications = (SONG_2021_SCORE, SONG_2021_DDIM, KARRAS_2022_EDM)

    @property
    def needs_question(self) -> bool:
        return False
