"""Examples as coefficients: another dataset, projected onto the span of an operator.

    z = G^+ (m - m_0)        for an affine operator z -> m_0 + G z with a known projection

The training set of a prior on coefficients. What the projection loses is gone: the operator's
``energy_kept`` says how much of a field that is.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from mempost.core.capabilities import HasProjection, ask, require
from mempost.core.dataset import Data, Dataset
from mempost.core.fields import PluginField
from mempost.core.operator import ForwardOperator
from mempost.core.streams import Streams
from mempost.core.tags import Tag


class Projected(Dataset):
    """Coefficients of another dataset's examples, by the projection of an operator."""

    dataset: Annotated[Dataset, PluginField("dataset")] = Field(
        examples=[{"type": "gaussian_random_field", "n": 16}]
    )
    operator: Annotated[ForwardOperator, PluginField("operator")] = Field(
        examples=[{"type": "kl_cosine", "shape": [16, 16], "modes": [4, 3]}]
    )

    @model_validator(mode="after")
    def _can_project(self) -> Self:
        if ask(self.operator, HasProjection) is None:
            raise ValueError(f"{type(self.operator).__name__} has no projection; kl_cosine has one")
        return self

    def _tags(self) -> frozenset[Tag]:
        """Those of the dataset that is projected."""
        return self.dataset.tags

    def load(self, streams: Streams) -> Data:
        data, operator = (
            self.dataset.load(streams),
            require(self.operator, HasProjection, "projected"),
        )
        held_out = data.held_out.new_zeros(0, *operator.project(data.train[:1]).shape[1:])
        if len(data.held_out):
            held_out = operator.project(data.held_out)
        return Data(operator.project(data.train), held_out)
