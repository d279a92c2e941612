"""How a score network is trained: the hyper-parameters, their meaning and defaults."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from mempost.core.fields import PluginField, named
from mempost.core.network import Network
from mempost.core.plugin import Recipe
from mempost.core.schedule import NoiseSchedule
from mempost.methods.score_matching.levels import (
    Interval,
    Times,
    TrainingLevels,
    UniformTimes,
    training_levels,
)
from mempost.methods.score_matching.parametrisation import Parametrisation, Weighting

_SMALL = {"type": "residual_mlp", "width": 16, "blocks": 1, "embedding": 8}


class TrainingSettings(Recipe):
    """Network, noise levels, loss and optimiser."""

    network: Annotated[Network, PluginField("network")] = Field(
        default_factory=named("network", "residual_mlp"), examples=[_SMALL]
    )
    parametrisation: Parametrisation = Field(
        "x0", description="what the network predicts: the clean x, the noise, or EDM's mixture"
    )
    schedule: Annotated[NoiseSchedule, PluginField("schedule")] = Field(
        default_factory=named("schedule", {"type": "ve", "sigma_min": 0.01, "sigma_max": 40.0}),
        description="noise levels of training; any sampler may use another schedule later",
    )
    times: Times = Field(
        default_factory=UniformTimes, description="how training levels are spread over the schedule"
    )
    train_on: tuple[Interval, ...] | None = Field(
        None, description="train at noise levels sigma = s/a in these intervals only"
    )
    skip: tuple[Interval, ...] = Field((), description="intervals of sigma left out of training")
    weighting: Weighting = Field("output", description="weight of the squared error at every level")
    tikhonov: float = Field(
        0.0,
        ge=0,
        description="c: the loss is smallest at the score (D - u)/(sigma^2 + c), bounded for c > 0",
    )
    steps: int = Field(1500, ge=1, description="gradient steps", examples=[20])
    batch: int = Field(256, ge=1, description="noised examples in a step", examples=[16])
    learning_rate: float = Field(1e-3, gt=0, description="of Adam at the first step")
    final_learning_rate: float = Field(
        1e-5, ge=0, description="at the last step; between them half a cosine"
    )
    clip: float | None = Field(
        1.0, gt=0, description="largest Euclidean norm of the gradient; null for none"
    )
    ema: float = Field(
        0.999, ge=0, lt=1, description="decay of the averaged weights that answer; 0 for none"
    )
    snapshots: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="steps after which the averaged weights are kept too"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _ = self.levels
        late = [k for k in self.snapshots if k > self.steps]
        if late:
            raise ValueError(f"snapshots holds {late[0]}, and training ends at step {self.steps}")
        return self

    @property
    def levels(self) -> TrainingLevels:
        """The distribution of noise levels in training."""
        return training_levels(self.schedule, self.times, self.train_on, self.skip)
