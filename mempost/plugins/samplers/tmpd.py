"""Reverse diffusion under the guidance `mempost.plugins.guidance.tmpd`."""

from __future__ import annotations

from mempost.core.reverse import GuidedSampler
from mempost.plugins.guidance.tmpd import TMPDGuidance


class TMPD(TMPDGuidance, GuidedSampler):
    """Tweedie moment projected diffusion (linear operators), with the full covariance.

    What it assumes and what a step costs stand with the guidance ``tmpd``.
    """
