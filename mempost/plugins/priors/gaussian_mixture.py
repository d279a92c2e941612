"""A Gaussian mixture whose parameters are given, p(x) = sum_k pi_k N(x; m_k, C_k)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import Matrix, RealArray, Vector
from mempost.core.errors import PluginError
from mempost.core.prior import FittedPrior, Prior
from mempost.core.progress import Progress
from mempost.core.streams import Streams
from mempost.core.tags import Tag
from mempost.methods.mixtures.covariances import expand_covariances, is_singular
from mempost.methods.mixtures.full_mixture import FullMixture


class GaussianMixture(Prior):
    """A Gaussian mixture with given weights, means and covariances.

    With ``standardise`` they mean the standardised coordinates of the training set, which is
    used for nothing else.
    """

    tags = frozenset({"closed_form", "log_density"})
    fitted_class: ClassVar[type[FittedPrior]] = FullMixture

    weights: Vector | None = Field(
        None, description="pi (K,), positive, scaled to sum to one; equal where absent"
    )
    means: Matrix = Field(description="m (K, d)", examples=[[[-1.0, 0.0], [1.0, 0.5]]])
    covariances: RealArray = Field(
        description="C: K variances, K x d variances or K x d x d matrices",
        examples=[[0.25, 0.5]],
    )

    @model_validator(mode="after")
    def _parameters_fit(self) -> GaussianMixture:
        expand_covariances(self.covariances.numpy(), *self.means.shape)
        if self.weights is not None:
            weights = self.weights.numpy()
            if len(weights) != len(self.means):
                raise ValueError(f"{len(self.means)} means have {len(weights)} weights")
            if not (weights > 0).all():
                raise ValueError(f"weights should be positive, found {weights.min():g}")
        return self

    def _tags(self) -> frozenset[Tag]:
        """No density where a covariance is singular."""
        values = expand_covariances(self.covariances.numpy(), *self.means.shape)
        return super()._tags() - ({"log_density"} if is_singular(values) else set())

    @property
    def needs_data(self) -> bool:
        return self.standardise

    def _fit(
        self, x: Tensor | None, shape: tuple[int, ...], streams: Streams, progress: Progress
    ) -> FittedPrior:
        if x is not None and not self.needs_data:
            raise PluginError("GaussianMixture is fully specified and takes no data")
        means = self.means.tensor(torch.float64)
        values = expand_covariances(self.covariances.numpy(), *self.means.shape)
        covariances = torch.tensor(values)
        weights = means.new_ones(len(means)) if self.weights is None else self.weights.tensor()
        if x is not None:
            if x.shape[1:] != means.shape[1:]:
                raise PluginError(
                    f"GaussianMixture: means have {means.shape[1]} numbers, the data {x.shape[1]}"
                )
            means, weights, covariances = means.to(x), weights.to(x), covariances.to(x.device)
        return FullMixture.from_covariances(
            weights / weights.sum(), means, covariances, shape or None
        )
