"""The history of a training run: what was lost, when, and at which noise levels.

Steps are summed up in blocks. Of a block are kept the mean loss, the mean norm of the gradient
before clipping, the learning rate at its last step, and the mean squared error of the denoiser, in
units of sigma_data^2 per coordinate, in bins of log sigma (NaN for a bin without samples).
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

BINS = 16
"""Bins of log sigma."""
BLOCKS = 250
"""Blocks at most."""
_PREFIX = "history."


class _Step(NamedTuple):
    loss: float
    norm: float
    sigma: Tensor
    error: Tensor


class History:
    """Curves of a training run, with the steps of the block that is being filled.

    Attributes:
        edges: levels sigma that part the bins, (bins + 1,).
        curves: ``step``, ``loss``, ``gradient_norm``, ``learning_rate`` (blocks,), and
            ``level_error`` (blocks, bins), float64 on the CPU.
    """

    def __init__(self, low: float, high: float, curves: dict[str, Tensor] | None = None) -> None:
        self.edges = torch.logspace(
            math.log10(low), math.log10(high), BINS + 1, dtype=torch.float64
        )
        empty = torch.zeros(0, dtype=torch.float64)
        names = ("step", "loss", "gradient_norm", "learning_rate")
        self.curves = curves or {
            **dict.fromkeys(names, empty),
            "level_error": empty.reshape(0, BINS),
        }
        self._block: list[_Step] = []

    def add(self, loss: float, norm: float, sigma: Tensor, error: Tensor) -> None:
        """One step: its loss, the norm of its gradient, levels and errors (batch,)."""
        self._block.append(_Step(loss, norm, sigma, error))

    def close(self, step: int, learning_rate: float) -> float:
        """End the block with this step; its mean loss."""
        losses, norms, sigmas, errors = zip(*self._block)
        error = torch.cat(errors).to("cpu", torch.float64)
        index = torch.bucketize(torch.cat(sigmas), self.edges[1:-1])
        samples = torch.bincount(index, minlength=BINS)
        loss = sum(losses) / len(losses)
        row = {
            "step": [step],
            "loss": [loss],
            "gradient_norm": [sum(norms) / len(norms)],
            "learning_rate": [learning_rate],
            "level_error": [(torch.bincount(index, error, BINS) / samples).tolist()],
        }
        self.curves = {
            name: torch.cat([curve, torch.tensor(row[name], dtype=torch.float64)])
            for name, curve in self.curves.items()
        }
        self._block = []
        return loss

    def tensors(self) -> dict[str, Tensor]:
        """The curves by name."""
        return {_PREFIX + name: curve for name, curve in self.curves.items()}

    @classmethod
    def from_tensors(cls, low: float, high: float, tensors: dict[str, Tensor]) -> Self:
        """The inverse of `tensors`; other names are left alone."""
        curves = {
            name.removeprefix(_PREFIX): tensor.detach().to("cpu", torch.float64)
            for name, tensor in tensors.items()
            if name.startswith(_PREFIX)
        }
        return cls(low, high, curves)
