"""A Gaussian prior, p(x) = N(x; m, C), given or learned as the moments of the training set.

It is the prior that remembers no example, only mean and covariance: the reference beside which
memorization shows.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import RealArray, Vector
from mempost.core.errors import PluginError
from mempost.core.prior import FittedPrior, Prior
from mempost.core.progress import Progress
from mempost.core.streams import Streams
from mempost.core.tags import Tag
from mempost.methods.mixtures.covariances import expand_covariances, is_singular
from mempost.methods.mixtures.full_mixture import FullMixture


class Gaussian(Prior):
    """A Gaussian whose mean and covariance are given, or learned from the data.

    What is learned is the sample mean and the unbiased sample covariance (two examples at least;
    singular for N <= d). With ``standardise`` given values mean standardised coordinates.
    """

    tags = frozenset({"closed_form", "log_density"})
    fitted_class: ClassVar[type[FittedPrior]] = FullMixture

    mean: Vector | None = Field(None, description="m (d,); learned where absent")
    covariance: RealArray | None = Field(
        None, description="C: a variance, d variances or a d x d matrix; learned where absent"
    )

    @model_validator(mode="after")
    def _parameters_fit(self) -> Gaussian:
        if self.covariance is not None:
            self._expanded(self._dimension)
        return self

    @property
    def _dimension(self) -> int:
        """The number of coordinates that the hyper-parameters name, 1 where they name none."""
        if self.mean is not None:
            return len(self.mean)
        return (*self.covariance.shape, 1)[0] if self.covariance is not None else 1

    def _expanded(self, d: int) -> np.ndarray:
        """The given covariance in d dimensions, (1, d) or (1, d, d)."""
        assert self.covariance is not None
        return expand_covariances(self.covariance.numpy()[None], 1, d)

    def _tags(self) -> frozenset[Tag]:
        """No density where the given covariance is singular (a learned one may be, too)."""
        if self.covariance is None or not is_singular(self._expanded(self._dimension)):
            return super()._tags()
        return super()._tags() - {"log_density"}

    @property
    def needs_data(self) -> bool:
        return self.standardise or self.mean is None or self.covariance is None

    def _fit(
        self, x: Tensor | None, shape: tuple[int, ...], streams: Streams, progress: Progress
    ) -> FittedPrior:
        if x is None:
            assert self.mean is not None and self.covariance is not None
            x = self.mean.tensor(torch.float64)[None]
        elif not self.needs_data:
            raise PluginError("Gaussian is fully specified and takes no data")
        mean = x.mean(0) if self.mean is None else self.mean.tensor(x.dtype, x.device)
        if mean.shape != x.shape[1:]:
            raise PluginError(f"Gaussian: mean has {len(mean)} numbers, the data {x.shape[1]}")
        if self.covariance is not None:
            covariance = torch.tensor(self._expanded(x.shape[1]), device=x.device)
        elif len(x) > 1:
            covariance = torch.cov(x.double().T).reshape(1, x.shape[1], x.shape[1])
        else:
            raise PluginError("Gaussian: a covariance is learned from two examples at least")
        return FullMixture.from_covariances(mean.new_ones(1), mean[None], covariance, shape or None)
