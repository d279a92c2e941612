"""Reverse diffusion under the guidance `mempost.plugins.guidance.gauss_newton`."""

from __future__ import annotations

from mempost.core.reverse import GuidedSampler
from mempost.plugins.guidance.gauss_newton import GaussNewtonGuidance


class GaussNewtonDPS(GaussNewtonGuidance, GuidedSampler):
    """Reverse diffusion guided by a Gauss-Newton step with the covariance of x given z_t.

    What it assumes and what a step costs stand with the guidance ``gauss_newton``.
    """
