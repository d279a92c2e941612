"""Variance preserving on the steps of a discrete chain (Ho et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.arrays import Vector
from mempost.core.publication import Publication
from mempost.core.schedule import PreservingSchedule
from mempost.methods.bibliography import HO_2020_DENOISING


class DiscreteVariancePreserving(PreservingSchedule):
    """abar_k = prod_{j<=k} (1 - beta_j) at t = (k + 1)/T, log-linear between (Ho et al. 2020).

    ``betas`` may be any numbers in (0, 1); by default ``steps`` of them from ``beta_min`` to
    ``beta_max``, equally spaced.
    """

    publications: ClassVar[tuple[Publication, ...]] = (HO_2020_DENOISING,)
    beta_min: float = Field(1e-4, gt=0, lt=1)
    beta_max: float = Field(0.02, gt=0, lt=1)
    steps: int = Field(200, ge=1, le=1_000_000)
    betas: Vector | None = None

    @model_validator(mode="after")
    def _betas_in_range(self) -> DiscreteVariancePreserving:
        if self.betas is not None:
            values = self.betas.numpy()
            if not ((values > 0) & (values < 1)).all():
                raise ValueError("betas should lie strictly between 0 and 1")
        return self

    @property
    def first_time(self) -> float:
        """The first step of the chain."""
        return 1 / (self.steps if self.betas is None else len(self.betas))

    def _table(self) -> Tensor:
        """log abar at t = 0, 1/T, ..., 1."""
        if self.betas is not None:
            betas = self.betas.tensor()
        else:
            betas = torch.linspace(self.beta_min, self.beta_max, self.steps, dtype=torch.float64)
        return torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0)])

    def _interval(self, t: Tensor) -> tuple[Tensor, Tensor, int]:
        table = self._table()
        n = len(table) - 1
        # a time within rounding of a node belongs to the interval that ends there
        k = torch.ceil(t * n - 1e-9).long().clamp(1, n)
        return table, k, n

    def log_abar(self, t: Tensor) -> Tensor:
        table, k, n = self._interval(t)
        return table[k - 1] + (table[k] - table[k - 1]) * (t * n - (k - 1))

    def log_abar_rate(self, t: Tensor) -> Tensor:
        table, k, n = self._interval(t)
        return (table[k] - table[k - 1]) * n
