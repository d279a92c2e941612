"""Least-squares slopes of many series, each over a window of its own."""

from __future__ import annotations

import math

from jaxtyping import Bool, Float
from torch import Tensor


def slopes(
    x: Float[Tensor, " k"], y: Float[Tensor, "n k"], window: Bool[Tensor, "n k"]
) -> Float[Tensor, " n"]:
    """Slope of every row of y against x where its window is true; NaN for less than two places."""
    w = window.to(y)
    count = w.sum(1, keepdim=True)
    centred = w * (x - (w * x).sum(1, keepdim=True) / count)
    return ((centred * y).sum(1) / centred.square().sum(1)).where(count[:, 0] > 1, math.nan)
