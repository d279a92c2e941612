"""Networks: hyper-parameters that build a torch module.

A module takes scaled states (batch, d) and a *clock* (batch,), the noise level as a number from 0
to `CLOCK`, and gives (batch, d), each row from its own row and clock alone. Its first weights come
from one integer, and torch's global generator stays as it was.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mempost.core.plugin import Plugin
from mempost.core.streams import Stream

CLOCK = 200.0
"""The clock at the largest trained noise level; 0 at the smallest, linear in log sigma between."""


class Network(Plugin, ABC):
    """A kind of network; authors write ``build``."""

    @abstractmethod
    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """A module (batch, d), (batch,) -> (batch, d) with torch's own initial weights.

        Args:
            shape: shape of one x, with d numbers.

        Raises:
            PluginError: the network does not take this shape, or a package is not installed.
        """

    def initialised(self, shape: tuple[int, ...], stream: Stream, like: Tensor) -> nn.Module:
        """A module with weights drawn from the stream, and dtype and device of ``like``."""
        seed = int(stream.integers(2**62, (1,)))
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            module = self.build(shape)
        return module.to(like)


def dimension(shape: tuple[int, ...]) -> int:
    """d, the number of coordinates of an x of this shape."""
    return math.prod(shape)
