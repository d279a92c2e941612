"""What a backend offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Complex
from pydantic import Field
from torch import Tensor

from mempost.core.plugin import Recipe
from mempost.methods.waves.bands import Offset


@dataclass(frozen=True)
class Layout:
    """Which nodes of an N_x x N_z grid a matrix couples."""

    shape: tuple[int, int]
    offsets: tuple[Offset, ...]

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column and position in the flattened bands of every entry inside the grid."""
        n_x, n_z = self.shape
        i, j = np.meshgrid(np.arange(n_x), np.arange(n_z), indexing="ij")
        parts = []
        for k, (o_x, o_z) in enumerate(self.offsets):
            to_x, to_z = i + o_x, j + o_z
            inside = (to_x >= 0) & (to_x < n_x) & (to_z >= 0) & (to_z < n_z)
            row = (i * n_z + j)[inside]
            parts.append((row, row + o_x * n_z + o_z, k * n_x * n_z + row))
        row, column, position = (np.concatenate(p) for p in zip(*parts, strict=True))
        return row, column, position


class Factors(Protocol):
    """Factorisations of a batch of matrices."""

    def solve(self, b: Complex[Tensor, "batch k N_x N_z"]) -> Complex[Tensor, "batch k N_x N_z"]:
        """u with A u = b, for k right-hand sides of each matrix."""
        ...


class Analysis(Protocol):
    """What depends on the layout of a matrix alone."""

    def factor(self, bands: Complex[Tensor, "batch o N_x N_z"]) -> Factors:
        """Factorise a batch of matrices."""
        ...


class SparseBackend(Recipe, ABC):
    """A sparse direct solver; authors override ``analyse`` and remember what it returns."""

    refinement: int = Field(
        2, ge=0, le=10, description="most steps of refinement where the residual is too large"
    )

    @abstractmethod
    def analyse(self, layout: Layout, dtype: torch.dtype) -> Analysis:
        """The symbolic phase.

        Raises:
            PluginError: a library that the backend needs is not installed.
        """
