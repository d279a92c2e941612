"""Unconditional reverse diffusion: samples of the prior through its score at every noise level.

The process stands in `mempost.core.reverse`, the steps in `mempost.core.flow` and the solvers. The
data are not used: as an answer to an inverse problem this is the prior, and a baseline for every
guided sampler.
"""

from __future__ import annotations

from mempost.core.reverse import ReverseSampler
from mempost.methods.bibliography import KARRAS_2022_EDM, SONG_2021_DDIM, SONG_2021_SCORE


class ReverseDiffusion(ReverseSampler):
    """Samples of the prior by reverse diffusion, without the data.

    Noise level: not used. Assumes: nothing of the operator. Cost of a step: that of the solver.
    Error with the exact score: that of the solver, plus what is lost by starting from noise
    (``start``) and below ``t_min``.
    """

    publications = (SONG_2021_SCORE, SONG_2021_DDIM, KARRAS_2022_EDM)

    @property
    def guide(self) -> None:
        return None
