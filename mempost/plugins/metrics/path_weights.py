"""Weights of the training examples along the paths of a flow.

    w_n(u) = softmax_n(log pi_n - |u - x_n|^2 / (2 sigma^2)),       u = z/a, sigma = s/a

are the probabilities that example n is what the noised state comes from. Under the exact score of
the training set the flow goes where they point, and it has decided once one of them is near 1.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models".
"""

from __future__ import annotations

import torch
from pydantic import Field

from mempost.core.level import NoiseLevel
from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.geometry.paths import Paths
from mempost.methods.mixtures.kernel_mixture import KernelMixture

QUANTILES = (0.05, 0.5, 0.95)


class PathWeights(Metric):
    """When one training example has most of the weight, and all weights of some paths.

    Columns ``decided_q``: quantiles over paths of s = -log sigma at the level from which on the
    largest weight stays above ``decided``; inf where it has not by the end. Weights of the first
    ``paths`` paths at every level are kept for pictures. Needs a sampler that keeps states, and a
    prior that keeps its examples.
    """

    publications = (BAPTISTA_2025_MEMORIZATION,)

    decided: float = Field(0.99, gt=0, lt=1, description="weight that decides")
    paths: int = Field(4, ge=1, description="paths whose weights are kept for pictures")

    def evaluate(self, result: Result) -> Measured:
        paths = Paths.of(result)
        if paths is None:
            return Measured()
        atoms = KernelMixture(paths.points, 0.0, paths.weights)
        largest, kept = [], []
        for k, sigma in enumerate(paths.sigma.tolist()):
            w = atoms.responsibilities(paths.u[:, k], NoiseLevel(1.0, sigma))
            largest.append(w.amax(1))
            kept.append(w[: self.paths])
        above = torch.stack(largest, 1) > self.decided
        stays = above.flip(1).cumprod(1).flip(1).bool()
        s = torch.where(stays, paths.s, torch.inf).amin(1)
        return Measured(
            {
                "decided": (
                    "quantile",
                    torch.quantile(s, s.new_tensor(QUANTILES), interpolation="nearest"),
                ),
                "path_weight": (("path", "sigma", "point"), torch.stack(kept, 1)),
            },
            {
                "quantile": QUANTILES,
                "sigma": paths.sigma.tolist(),
                "point": paths.numbers.tolist(),
            },
            unlisted=["path_weight"],
        )
