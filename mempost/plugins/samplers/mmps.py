"""Reverse diffusion under the guidance `mempost.plugins.guidance.mmps`."""

from __future__ import annotations

from mempost.core.reverse import GuidedSampler
from mempost.plugins.guidance.mmps import MMPSGuidance


class MMPS(MMPSGuidance, GuidedSampler):
    """Moment matching posterior sampling (linear operators): TMPD for many data.

    What it assumes and what a step costs stand with the guidance ``mmps``.
    """
