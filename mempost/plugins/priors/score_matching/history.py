"""The history of a training run: what was lost, when, and at which noise levels.

Steps are summed up in blocks. Of a block are kept the mean loss, the mean norm of the gradient
before clipping, the learning rate at its last step, and the mean squared error of the denoiser, in
units of sigma_data^2 per coordinate, in bins of log sigma (NaN for a bin without samples).
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

BINS = 16
"""Bins of log sigma."""
BLOCKS = 250
"""Blocks at most."""
_PREFIX = "history."


class History:
    """Curves of a training run, with the sums of the block that is being filled.

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
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._bins = torch.zeros(2, BINS, dtype=torch.float64)

    def add(self, loss: float, norm: float, sigma: Tensor, error: Tensor) -> None:
        """One step: its loss, gradient norm, and levels and errors (batch,), on the CPU."""
        self._sums += torch.tensor([1.0, loss, norm], dtype=torch.float64)
        index = torch.bucketize(sigma, self.edges[1:-1])
        self._bins[0].index_add_(0, index, torch.ones_like(sigma))
        self._bins[1].index_add_(0, index, error)

    def close(self, step: int, learning_rate: float) -> float:
        """End the block with this step; its mean loss."""
        count, loss, norm = self._sums.tolist()
        row = {
            "step": torch.tensor([float(step)]),
            "loss": torch.tensor([loss / count]),
            "gradient_norm": torch.tensor([norm / count]),
            "learning_rate": torch.tensor([learning_rate]),
            "level_error": (self._bins[1] / self._bins[0])[None],
        }
        self.curves = {k: torch.cat([self.curves[k], row[k].double()]) for k in self.curves}
        self._sums.zero_()
        self._bins.zero_()
        return loss / count

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
