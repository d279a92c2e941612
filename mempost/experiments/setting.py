"""What a point of a study says of its inverse problem, apart from who solves it.

The code that makes data, truth and noise reads these recipes alone: what a spec says besides
(samplers, metrics, figures, tables) cannot change them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field, PositiveInt, model_validator

from mempost.core.dataset import Dataset
from mempost.core.fields import PluginField
from mempost.core.noise import NoiseRecipe
from mempost.core.plugin import Recipe
from mempost.core.prior import Prior
from mempost.experiments.question import Observation, OperatorList, Question

Dtype = Literal["float32", "float64", "complex64", "complex128"]


def _device(value: str) -> str:
    if re.fullmatch(r"cpu|cuda(:\d+)?|mps", value) is None:
        raise ValueError("allowed are cpu, cuda, cuda:0 (or another number) and mps")
    return value


Device = Annotated[str, AfterValidator(_device)]


class Calibration(Recipe):
    """Many truths instead of one: data are simulated from each, and its posterior is drawn from."""

    truths: PositiveInt = 1000
    source: Literal["prior", "held_out", "train"] = Field(
        "prior", description="draws of the prior, or examples from the first on"
    )


class Setting(Recipe):
    """Data, prior and question, in one precision on one device."""

    seed: int = Field(0, ge=0, lt=2**63)
    dtype: Dtype = "float64"
    device: Device = "cpu"
    data: Annotated[Dataset, PluginField("dataset")] | None = None
    prior: Annotated[Prior, PluginField("prior")]
    operator: OperatorList | None = Field(
        None, description="with noise and observation; a study that asks nothing has none of them"
    )
    noise: Annotated[NoiseRecipe, PluginField("noise")] | None = None
    observation: Observation | None = None
    calibration: Calibration | None = Field(
        None, description="draw for many truths; the observation then sets the noise alone"
    )

    @property
    def real_dtype(self) -> torch.dtype:
        """Precision of the model's coordinates."""
        single = self.dtype in ("float32", "complex64")
        return torch.float32 if single else torch.float64

    @model_validator(mode="after")
    def _question_is_whole(self) -> Self:
        parts = {n: getattr(self, n) for n in ("operator", "noise", "observation")}
        missing = [name for name, part in parts.items() if part is None]
        if missing and len(missing) < len(parts):
            raise ValueError(
                f"{', '.join(missing)}: missing; operator, noise and observation stand together, "
                "or none of them does"
            )
        if missing and self.calibration is not None:
            raise ValueError("calibration: simulates data; give operator, noise and observation")
        return self

    @property
    def question(self) -> Question | None:
        """What is asked, or None."""
        if self.operator is None or self.noise is None or self.observation is None:
            return None
        return Question(self.operator, self.noise, self.observation)

    @property
    def observation_seed(self) -> int:
        """The seed of truth and noise."""
        seed = None if self.observation is None else self.observation.seed
        return self.seed if seed is None else seed
