"""The reverse flow between noise levels, in u = z/a and sigma = s/a, and its steps.

The law of z_t is carried from level to level by

    du/dsigma = (u - m)/sigma,        m = E[x | z] or E[x | z, y]      (probability flow)

whatever the schedule is (Song et al. 2021; Karras et al. 2022). One step goes from (a, s) to
(a', s') with sigma' < sigma:

    euler       u' = m + sigma' (u - m)/sigma,    that is z' = a' m + s' e,  e = (z - a m)/s
    ancestral   z' = a' m + sqrt(s'^2 - c^2) e + c n,    c = eta (s'/s) sqrt(s^2 - (a/a')^2 s'^2)
    heun        u' = u + (sigma' - sigma)(d + d')/2,     d = (u - m)/sigma, d' after the euler step

Euler's step is that of DDIM, and exact where m is constant, so that it may lead to sigma' = 0.
Levels are numbers, or differ by row. Everything that follows the flow does it by these functions:
samplers, draws of learned priors, and the inner flow of methods that denoise by several steps.

References: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole 2021, "Score-based generative
modeling through stochastic differential equations"; Song, Meng & Ermon 2021, "Denoising diffusion
implicit models"; Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of
diffusion-based generative models".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from mempost.core.level import NoiseLevel

Denoise = Callable[[Tensor, NoiseLevel], Tensor]
"""(z (batch, d), level) -> E[x | z] (batch, d), or E[x | z, y]."""
Number = float | Tensor


def euler(
    z: Float[Tensor, "batch d"], mean: Float[Tensor, "batch d"], level: NoiseLevel, to: NoiseLevel
) -> Float[Tensor, "batch d"]:
    """One step of first order, given the denoised mean at z."""
    (a, s), (a_next, s_next) = numbers(level, z), numbers(to, z)
    return a_next * mean + s_next * ((z - a * mean) / s)


def ancestral(
    z: Float[Tensor, "batch d"],
    mean: Float[Tensor, "batch d"],
    level: NoiseLevel,
    to: NoiseLevel,
    eta: float,
    noise: Float[Tensor, "batch d"],
) -> Float[Tensor, "batch d"]:
    """A step with new noise by the share ``eta``: 0 is `euler`, 1 draws from p(z' | z, x = m)."""
    (a, s), (a_next, s_next) = numbers(level, z), numbers(to, z)
    c = eta * s_next / s * _root(s**2 - (a / a_next * s_next) ** 2)
    return a_next * mean + _root(s_next**2 - c**2) * ((z - a * mean) / s) + c * noise


def heun(
    denoise: Denoise,
    z: Float[Tensor, "batch d"],
    mean: Float[Tensor, "batch d"],
    level: NoiseLevel,
    to: NoiseLevel,
) -> Float[Tensor, "batch d"]:
    """One step of second order, given the denoised mean at z; it denoises once more, at s' > 0."""
    (a, s), (a_next, s_next) = numbers(level, z), numbers(to, z)
    predicted = euler(z, mean, level, to)
    next_mean = denoise(predicted, to)
    slope, next_slope = (z - a * mean) / s, (predicted - a_next * next_mean) / s_next
    return a_next * (z / a + (s_next / a_next - s / a) * (slope + next_slope) / 2)


def descend(
    denoise: Denoise, z: Float[Tensor, "batch d"], levels: Sequence[NoiseLevel], order: int
) -> Float[Tensor, "batch d"]:
    """Denoised end of the flow from z at ``levels[0]`` through all, by steps of order 1 or 2.

    The last call of the denoiser is the one at the last level: order (number of levels - 1) + 1
    calls in all.
    """
    for level, to in pairwise(levels):
        mean = denoise(z, level)
        z = euler(z, mean, level, to) if order == 1 else heun(denoise, z, mean, level, to)
    return denoise(z, levels[-1])


def numbers(level: NoiseLevel, z: Tensor) -> tuple[Number, Number]:
    """(a, s) as numbers, or as columns (batch, 1) like z where they differ by row."""
    if all(not isinstance(value, Tensor) or value.numel() == 1 for value in (level.a, level.s)):
        return float(level.a), float(level.s)
    return level.columns(z)


def _root(value: Number) -> Number:
    """sqrt, of what rounding has made negative too."""
    return value.clamp(min=0).sqrt() if isinstance(value, Tensor) else max(value, 0.0) ** 0.5


__all__ = ["Denoise", "ancestral", "descend", "euler", "heun", "numbers"]
