"""Unconditional reverse diffusion: samples of the prior through its score at every noise level.

The integrators and their equations stand in `mempost.core.reverse`. The data are not used: as an
answer to an inverse problem this is the prior, and a baseline for every guided sampler.
"""

from __future__ import annotations

from mempost.core.plugin import Reference
from mempost.core.reverse import ReverseSampler

SCORE_SDE = Reference(
    "song2021score",
    "Yang Song and Jascha Sohl-Dickstein and Diederik P. Kingma and Abhishek Kumar and "
    "Stefano Ermon and Ben Poole",
    "Score-based generative modeling through stochastic differential equations",
    2021,
    "https://arxiv.org/abs/2011.13456",
)
DDIM = Reference(
    "song2021ddim",
    "Jiaming Song and Chenlin Meng and Stefano Ermon",
    "Denoising diffusion implicit models",
    2021,
    "https://arxiv.org/abs/2010.02502",
)
EDM = Reference(
    "karras2022edm",
    "Tero Karras and Miika Aittala and Timo Aila and Samuli Laine",
    "Elucidating the design space of diffusion-based generative models",
    2022,
    "https://arxiv.org/abs/2206.00364",
)


class ReverseDiffusion(ReverseSampler):
    """Samples of the prior by reverse diffusion, without the data.

    Noise level: not used. Assumes: nothing of the operator. Cost of a step: one denoiser call
    (heun: two). Error with the exact score: O(1/steps) for ddim and euler_maruyama, O(1/steps^2)
    for heun, plus what is lost by starting from noise (``start``) and below ``t_min``.
    """

    references = (SCORE_SDE, DDIM, EDM)
