"""A convolutional U-Net over the coefficients in their order.

Level l works on a signal 2^-l as long. A block is

    h + Conv(SiLU(GroupNorm(Conv(SiLU(GroupNorm(h))) + W phi(clock))))

and the way up joins the signal of the same length from the way down. Signals are padded with zeros
to a multiple of 2^(levels - 1) and cut again.

Reference: Ronneberger, Fischer & Brox 2015, "U-Net: convolutional networks for biomedical image
segmentation"; Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models".
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from mempost.core.network import Network
from mempost.methods.score_matching.embedding import sinusoidal


class UNet1D(Network):
    """A U-Net on the flattened x as a signal of one channel."""

    channels: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (32, 64), min_length=1, description="channels of every level"
    )
    kernel: int = Field(5, ge=1, description="length of the filters, odd")
    embedding: int = Field(64, ge=2, multiple_of=2, description="features of the noise level")

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        return _UNet1D(self)


def _norm(channels: int) -> nn.GroupNorm:
    """Groups of eight channels, or one group where they do not divide."""
    return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, embedding: int) -> None:
        super().__init__()
        self.norm_1 = _norm(inputs)
        self.conv_1 = nn.Conv1d(inputs, outputs, kernel, padding="same")
        self.clock = nn.Linear(embedding, outputs)
        self.norm_2 = _norm(outputs)
        self.conv_2 = nn.Conv1d(outputs, outputs, kernel, padding="same")
        self.shortcut = nn.Conv1d(inputs, outputs, 1)

    def forward(self, h: Tensor, features: Tensor) -> Tensor:
        inner = self.conv_1(silu(self.norm_1(h))) + self.clock(features)[:, :, None]
        return self.shortcut(h) + self.conv_2(silu(self.norm_2(inner)))


class _UNet1D(nn.Module):
    def __init__(self, recipe: UNet1D) -> None:
        super().__init__()
        self.embedding, channels = recipe.embedding, recipe.channels

        def block(inputs: int, outputs: int) -> _Block:
            return _Block(inputs, outputs, recipe.kernel, recipe.embedding)

        self.first = nn.Conv1d(1, channels[0], recipe.kernel, padding="same")
        pairs = list(pairwise(channels))
        self.down = nn.ModuleList([block(c, c) for c in channels[:-1]])
        self.shrink = nn.ModuleList([nn.Conv1d(c, e, 2, stride=2) for c, e in pairs])
        self.middle = block(channels[-1], channels[-1])
        self.grow = nn.ModuleList([nn.ConvTranspose1d(e, c, 2, stride=2) for c, e in pairs[::-1]])
        self.up = nn.ModuleList([block(2 * c, c) for c in channels[-2::-1]])
        self.last = nn.Conv1d(channels[0], 1, 1)

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        features = silu(sinusoidal(clock, self.embedding))
        short = -x.shape[-1] % 2 ** len(self.down)
        h = self.first(pad(x, (0, short))[:, None])
        kept = []
        for block, shrink in zip(self.down, self.shrink):
            kept.append(block(h, features))
            h = shrink(kept[-1])
        h = self.middle(h, features)
        for block, grow in zip(self.up, self.grow):
            h = block(torch.cat([grow(h), kept.pop()], 1), features)
        return self.last(h)[:, 0, : x.shape[-1]]
