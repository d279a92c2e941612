"""Points given one by one: the data of the stylized problems."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mempost.core.arrays import RealArray
from mempost.core.dataset import Data, Dataset
from mempost.core.streams import Streams


class Points(Dataset):
    """Training and held-out examples listed in the spec, one row (or image) each.

    A number a point is written [[-1.5], [0.4], ...].
    """

    values: RealArray = Field(
        description="training examples, (N, *shape)", examples=[[[-1.5], [0.4], [2.5]]]
    )
    held_out: RealArray | None = Field(None, description="held-out examples, (M, *shape)")

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        if self.values.ndim < 2:
            raise ValueError(
                f"values should be a list of points such as [[1.0], [2.0]], "
                f"found shape {self.values.shape}"
            )
        if self.held_out is not None and self.held_out.shape[1:] != self.values.shape[1:]:
            raise ValueError(
                f"held_out should hold points of shape {self.values.shape[1:]}, "
                f"found shape {self.held_out.shape}"
            )
        return self

    def load(self, streams: Streams) -> Data:
        train = self.values.tensor()
        held_out = train[:0] if self.held_out is None else self.held_out.tensor()
        return Data(train, held_out)
