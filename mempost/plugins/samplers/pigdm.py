"""Reverse diffusion under the guidance `mempost.plugins.guidance.pigdm`."""

from __future__ import annotations

from mempost.core.reverse import GuidedSampler
from mempost.plugins.guidance.pigdm import PiGDMGuidance


class PiGDM(PiGDMGuidance, GuidedSampler):
    """Pseudoinverse-guided diffusion (linear operators), with either of its two variances.

    What it assumes and what a step costs stand with the guidance ``pigdm``.
    """
