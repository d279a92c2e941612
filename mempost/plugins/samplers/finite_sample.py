"""Reverse diffusion under the guidance `mempost.plugins.guidance.finite_sample`."""

from __future__ import annotations

from mempost.core.reverse import GuidedSampler
from mempost.plugins.guidance.finite_sample import FiniteSampleGuidance


class FiniteSample(FiniteSampleGuidance, GuidedSampler):
    """Reverse diffusion with the exact conditional score of an empirical prior.

    What it assumes and what a step costs stand with the guidance ``finite_sample``.
    """
