"""The x that the data of a study are simulated from: given, picked from examples, or drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from mempost.core.dataset import Data
from mempost.core.errors import SpecError
from mempost.core.prior import FittedPrior
from mempost.core.shapes import fits
from mempost.core.streams import Streams
from mempost.experiments.fitting import load_examples
from mempost.experiments.question import HeldOut, OtherData, PriorDraw, Truth, Values
from mempost.experiments.setting import Setting


def truth_of(truth: Truth, setting: Setting, data: Data | None, prior: FittedPrior) -> Tensor:
    """The truth in raw coordinates, (d,).

    Raises:
        SpecError: there is no such example, or it has another shape than the prior's x.
    """
    if isinstance(truth, Values):
        x = truth.values.tensor(setting.real_dtype, setting.device)
        x = with_shape(x, prior.shape, "observation.truth.values").flatten()
    elif isinstance(truth, PriorDraw):
        draws = prior.sample(truth.index + 1, Streams(setting.observation_seed, "truth"))
        x = prior.coordinates.to_raw(draws[truth.index])
    elif isinstance(truth, OtherData):
        examples = load_examples(truth.dataset, setting).train
        x = _pick(examples, (truth.index,), prior.shape, "index", "dataset")
    else:
        if data is None:
            raise SpecError("observation.truth: the spec has no data to take the truth from")
        if isinstance(truth, HeldOut):
            x = _pick(data.held_out, (truth.index,), prior.shape, "index", "held-out")
        else:
            x = _pick(data.train, truth.indices, prior.shape, "indices", "training")
    return x


def with_shape(x: Tensor, shape: tuple[int, ...], place: str) -> Tensor:
    """``x`` in the shape that is expected, if it differs by axes of length one or is a list."""
    found = tuple(x.shape)
    if not fits(found, shape):
        more = "; an array from a file takes transpose" if x.numel() == _size(shape) else ""
        raise SpecError(f"{place}: shape {found}, expected {shape}{more}")
    return x.reshape(shape)


def _pick(
    examples: Tensor, indices: tuple[int, ...], shape: tuple[int, ...], field: str, name: str
) -> Tensor:
    """The average of some examples, flattened."""
    for index in indices:
        if index >= len(examples):
            raise SpecError(
                f"observation.truth.{field}: {index} is beyond the {len(examples)} {name} examples"
            )
    mean = examples[list(indices)].mean(0)
    return with_shape(mean, shape, f"observation.truth: {name} examples").flatten()


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
