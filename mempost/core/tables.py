"""Tensors that operators derive from their hyper-parameters, built once and remembered.

A recipe holds no tensors, and an operator is called thousands of times with the same matrix. The
transforms of ``torch.func`` and inference mode mark every tensor that is made under them, and such
a tensor cannot be used afterwards; both are properties of a thread. So a table is built in a thread
of its own, whatever the caller is in the middle of.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.memory import remember


def table(build: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """Decorate ``build(*recipe)`` into ``build(*recipe, dtype=..., device=...)``, remembered.

    The arguments must be hashable, as recipes are.
    """
    name = f"{build.__module__}.{build.__qualname__}"

    def remembered(*recipe: object, dtype: torch.dtype, device: torch.device) -> Tensor:
        def make() -> Tensor:
            return torch.tensor(build(*recipe), dtype=dtype, device=device)

        def elsewhere() -> Tensor:
            with ThreadPoolExecutor(max_workers=1) as thread:
                return thread.submit(make).result()

        return remember(elsewhere, name, *recipe, dtype, device)

    return remembered


constant = table(FrozenArray.numpy)
"""``constant(array, dtype=..., device=...)``: a `FrozenArray` as a tensor."""
