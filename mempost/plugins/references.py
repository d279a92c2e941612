"""Publications that several plugins come from."""

from __future__ import annotations

from mempost.core.plugin import Reference

SIAHKOOHI_2026 = Reference(
    "siahkoohi2026memorization",
    "Siahkoohi and Sabeddu",
    "On the role of memorization in learned priors for geophysical inverse problems",
    2026,
    "https://arxiv.org/abs/2603.19629",
)
BURNS_2026 = Reference(
    "burns2026lens",
    "Burns and Fridovich-Keil",
    "When, why, and how do diffusion posterior samplers fail? A finite-sample lens",
    2026,
    "https://arxiv.org/abs/2605.30330",
)
BOYS_2023 = Reference(
    "boys2023tmpd",
    "Benjamin Boys and Mark Girolami and Jakiw Pidstrigach and Sebastian Reich and "
    "Alan Mosca and O. Deniz Akyildiz",
    "Tweedie moment projected diffusions for inverse problems",
    2023,
    "https://arxiv.org/abs/2310.06721",
)
ROZET_2024 = Reference(
    "rozet2024mmps",
    "François Rozet and Gérôme Andry and François Lanusse and Gilles Louppe",
    "Learning diffusion priors from observations by expectation maximization",
    2024,
    "https://arxiv.org/abs/2405.13712",
)
SONG_2023 = Reference(
    "song2023pigdm",
    "Jiaming Song and Arash Vahdat and Morteza Mardani and Jan Kautz",
    "Pseudoinverse-guided diffusion models for inverse problems",
    2023,
    "https://openreview.net/forum?id=9_gsMA8MRKQ",
)
