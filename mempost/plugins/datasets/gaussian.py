"""Gaussian data, x = m + L e with e ~ N(0, I) and L L^T = C the Cholesky factorisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import Matrix, Vector
from mempost.core.streams import TILE, Stream
from mempost.methods.statistics.independent import IndependentDraws


class GaussianData(IndependentDraws):
    """Independent draws from a Gaussian distribution N(mean, covariance)."""

    mean: Vector = Field(description="m, (d,)", examples=[[0.0, 1.0]])
    covariance: Matrix = Field(
        description="C, (d, d), symmetric positive definite", examples=[[[1.0, 0.3], [0.3, 0.5]]]
    )

    @model_validator(mode="after")
    def _covariance_fits(self) -> Self:
        d = len(self.mean)
        if self.covariance.shape != (d, d):
            raise ValueError(
                f"covariance should have shape {(d, d)} for a mean of {d} numbers, "
                f"found {self.covariance.shape}"
            )
        cholesky(self.covariance.numpy(), "covariance")
        return self

    def draws(self) -> Callable[[Stream], Tensor]:
        mean = self.mean.tensor()
        factor = torch.from_numpy(cholesky(self.covariance.numpy(), "covariance"))

        def draw(stream: Stream) -> Tensor:
            return mean + stream.normal((TILE, len(mean))) @ factor.mT

        return draw


def cholesky(covariance: np.ndarray, name: str) -> np.ndarray:
    """Lower triangular L with L L^T = C, for C (d, d).

    Raises:
        ValueError: C is not symmetric, or not positive definite.
    """
    if np.abs(covariance - covariance.T).max() > 1e-10 * np.abs(covariance).max():
        raise ValueError(f"{name} should be symmetric")
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ValueError(f"{name} should be positive definite") from None
