"""Data from a mixture of Gaussians, p(x) = sum_i w_i N(x; m_i, C_i).

A component i is drawn with probability w_i, then x = m_i + L_i e with L_i L_i^T = C_i.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import ArrayField, FrozenArray, Matrix, Vector
from mempost.core.streams import TILE, Stream
from mempost.methods.statistics.independent import IndependentDraws
from mempost.plugins.datasets.gaussian import cholesky


class GaussianMixtureData(IndependentDraws):
    """Independent draws from a mixture of Gaussians with general covariances."""

    means: Matrix = Field(description="m_i, (k, d)", examples=[[[-1.0, 0.0], [1.0, 0.5]]])
    covariances: Annotated[FrozenArray, ArrayField(ndim=3, real=True)] = Field(
        description="C_i, (k, d, d), or (1, d, d) for one that all components share",
        examples=[[[[1.0, 0.3], [0.3, 0.5]]]],
    )
    weights: Vector | None = Field(
        None, description="w_i up to a common factor, (k,); equal if not given"
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        k, d = self.means.shape
        if self.covariances.shape not in ((k, d, d), (1, d, d)):
            raise ValueError(
                f"covariances should have shape {(k, d, d)} or {(1, d, d)} for means of shape "
                f"{(k, d)}, found {self.covariances.shape}"
            )
        if self.weights is not None:
            weights = self.weights.numpy()
            if len(weights) != k:
                raise ValueError(f"weights should hold {k} numbers, found {len(weights)}")
            if not ((weights >= 0).all() and weights.any()):
                raise ValueError("weights should not be negative, nor all zero")
        self._factors()
        return self

    def _factors(self) -> np.ndarray:
        """L_i, (k or 1, d, d)."""
        covariances = self.covariances.numpy()
        return np.stack([cholesky(c, f"covariances.{i}") for i, c in enumerate(covariances)])

    def draws(self) -> Callable[[Stream], Tensor]:
        means = self.means.tensor()
        k, d = means.shape
        factors = torch.from_numpy(self._factors()).expand(k, d, d)
        weights = means.new_ones(k) if self.weights is None else self.weights.tensor()
        weights = weights / weights.max()

        def draw(stream: Stream) -> Tensor:
            component = stream.categorical(weights, TILE)
            e = stream.normal((TILE, d, 1))
            return means[component] + (factors[component] @ e).squeeze(-1)

        return draw
