"""mempost: what becomes of the posterior when a diffusion prior has memorized its training set.

Names are imported when they are first used, so that ``import mempost`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "CompositePrior": "mempost.core.composite",
    "FittedComposite": "mempost.core.composite",
    "Coordinates": "mempost.core.coordinates",
    "Data": "mempost.core.dataset",
    "Dataset": "mempost.core.dataset",
    "Figure": "mempost.core.figure",
    "ForwardOperator": "mempost.core.operator",
    "GaussianNoise": "mempost.core.gaussian_noise",
    "InputFile": "mempost.core.plugin",
    "InverseProblem": "mempost.core.problem",
    "Measured": "mempost.core.measured",
    "Metric": "mempost.core.metric",
    "Network": "mempost.core.network",
    "Noise": "mempost.core.noise",
    "NoiseLaw": "mempost.core.noise",
    "NoiseLevel": "mempost.core.level",
    "NoiseRecipe": "mempost.core.noise",
    "NoiseSchedule": "mempost.core.schedule",
    "Posterior": "mempost.core.posterior",
    "PosteriorSampler": "mempost.core.sampler",
    "Denoised": "mempost.core.denoised",
    "ExactSampler": "mempost.core.sampler",
    "IterativeSampler": "mempost.core.iterative",
    "AdaptiveSolver": "mempost.core.solver",
    "Correction": "mempost.core.guidance",
    "FixedSolver": "mempost.core.solver",
    "Guidance": "mempost.core.guidance",
    "GuidedSampler": "mempost.core.reverse",
    "Trajectory": "mempost.core.trajectory",
    "TiledSampler": "mempost.core.sampler",
    "FittedPrior": "mempost.core.prior",
    "MixturePrior": "mempost.core.mixture",
    "Picture": "mempost.core.figure",
    "PluginField": "mempost.core.fields",
    "Prior": "mempost.core.prior",
    "Publication": "mempost.core.publication",
    "Result": "mempost.core.result",
    "Samples": "mempost.core.sampler",
    "Streams": "mempost.core.streams",
    "named": "mempost.core.fields",
    "register": "mempost.core.registry",
    "run": "mempost.experiments.run",
    "Solver": "mempost.core.solver",
    "Study": "mempost.experiments.study",
}

__version__ = "0.1.0"
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'mempost' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
