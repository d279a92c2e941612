"""Chi-squared probabilities: squared lengths of standard normal vectors in d dimensions."""

from __future__ import annotations

import torch


def chi_squared_below(t: float, d: int) -> float:
    """P(chi^2_d < t)."""
    half = torch.tensor([d / 2, max(t, 0.0) / 2], dtype=torch.float64)
    return float(torch.special.gammainc(half[0], half[1]))


def within(tolerance: float, h: float, d: int) -> float:
    """P(|h e| < tolerance) for e ~ N(0, I_d); 1 for h = 0."""
    return chi_squared_below((tolerance / h) ** 2, d) if h > 0 else 1.0
