"""Points that differ: examples that stand several times in a training set count as one point.

Repeated examples are the commonest cause of memorization, and nothing may count them as several:
not masses (a posterior on one example that stands ten times has collapsed onto one point), not
nearest neighbours (the second neighbour of a copy is the next other point), not controls. Points
are equal if all their numbers are; their weights are summed, and a point has the number of its
first example.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mempost.core.capabilities import HasComponents
from mempost.core.memory import remember


class Distinct(NamedTuple):
    """The points among n rows, in the order in which they first appear.

    Attributes:
        first: number of the first row at each point.
        place: the point at which each row is.
    """

    first: Int[Tensor, " m"]
    place: Int[Tensor, " n"]

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"]) -> Self:
        """The points of a set of rows; remembered."""
        return remember(lambda: cls(*_first_and_place(rows)), "distinct", rows)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def copies(self) -> Int[Tensor, " m"]:
        """How many rows are at each point."""
        return torch.bincount(self.place, minlength=len(self))

    def total(self, values: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch m"]:
        """Sums over the rows at each point."""
        found = values.new_zeros(*values.shape[:-1], len(self))
        return found.index_add(-1, self.place, values)


def distinct_components(mixture: HasComponents) -> Distinct:
    """Components that differ in mean or covariance.

    Covariances are told apart by their products with one vector that no matrix is made for.
    """
    rows = mixture.means
    if not mixture.shared_covariance:
        index = torch.arange(len(rows), device=rows.device)
        v = torch.linspace(1, 2, rows.shape[1], dtype=rows.dtype, device=rows.device).sqrt()
        along = v.expand(len(rows), -1)[..., None]
        half = mixture.factor_product(index, along, transpose=True)
        rows = torch.cat([rows, mixture.factor_product(index, half)[..., 0]], 1)
    return Distinct.of(rows)


def _first_and_place(rows: Tensor) -> tuple[Tensor, Tensor]:
    """By the bytes of the rows, of which -0.0 has others than 0.0."""
    plain = np.ascontiguousarray((rows.detach().cpu() + 0.0).numpy())
    keys = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1])))[:, 0]
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by first appearance, not by bytes
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    place = rank[place.reshape(-1)]
    return torch.from_numpy(first[order]).to(rows.device), torch.from_numpy(place).to(rows.device)
