"""The training examples of a setting, and the prior fitted to them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.dataset import Data, Dataset
from mempost.core.errors import SpecError
from mempost.core.prior import FittedPrior
from mempost.core.progress import Progress, silent
from mempost.core.streams import Streams
from mempost.experiments.setting import Setting


def load_data(setting: Setting) -> Data | None:
    """The examples in raw coordinates and in the setting's precision."""
    return None if setting.data is None else load_examples(setting.data, setting)


def load_examples(dataset: Dataset, setting: Setting) -> Data:
    """The examples of any dataset, in the setting's precision and on its device.

    Raises:
        SpecError: an example is not finite, or its square is not in the setting's precision.
    """
    data = dataset.load(Streams(setting.seed, "data"))
    device, dtype = setting.device, setting.real_dtype
    _require_representable(data.train, dtype, "training")
    _require_representable(data.held_out, dtype, "held-out")
    return Data(data.train.to(device, dtype), data.held_out.to(device, dtype))


def fit_prior(setting: Setting, data: Data | None, progress: Progress = silent) -> FittedPrior:
    """The prior, fitted now or before, on the setting's device and in its precision."""
    streams = Streams(setting.seed, "training")
    x = data.train if data is not None and setting.prior.needs_data else None
    fitted = setting.prior.fit_once(x, streams=streams, progress=progress)
    return fitted.to(device=setting.device, dtype=setting.real_dtype)


def _require_representable(x: Float[Tensor, "n *shape"], dtype: torch.dtype, name: str) -> None:
    """Numbers whose squares fit into the precision.

    Raises:
        SpecError: an example holds another one.
    """
    if not torch.isfinite(x).all():
        raise SpecError(f"data: the {name} examples hold non-finite numbers")
    largest = math.sqrt(torch.finfo(dtype).max)
    if x.numel() and float(x.abs().max()) > largest:
        n, value = _largest(x.flatten(1))
        precision = str(dtype).partition(".")[2]
        raise SpecError(
            f"data: {name} example {n} holds {value:g}, whose square {precision} cannot hold; "
            f"allowed are numbers up to {largest:.2g}. Leave the example out, or its fill values"
        )


def _largest(x: Float[Tensor, "n d"]) -> tuple[int, float]:
    """The number of the example that holds the largest number, and that number."""
    n = int(x.abs().amax(1).argmax())
    return n, float(x[n, x[n].abs().argmax()])
