"""Perfectly matched layers by complex coordinate stretching.

With time dependence exp(-i omega t), a wave exp(i k x) that leaves along x decays under
x -> integral of s dx, where

    s = 1 + i sigma / omega,        sigma(d) = sigma_max (d / width)^2,

d being the depth in the layer, counted from the last node of the model. Across a layer an
amplitude falls by exp(-sigma_max width / (3 v)), v the velocity.

References: Berenger 1994, "A perfectly matched layer for the absorption of electromagnetic waves";
Chew & Weedon 1994, "A 3D perfectly matched medium from modified Maxwell's equations with stretched
coordinates".
"""

from __future__ import annotations

import math

import numpy as np

from mempost.methods.waves.grid import Axis


def stretch(axis: Axis, frequency: float, sigma_max: float, position: np.ndarray) -> np.ndarray:
    """s at ``position``, counted in cells from the first model node (it may be fractional).

    Args:
        axis: model nodes and layers.
        frequency: Hz.
        sigma_max: damping at the outermost node, 1/s.
        position: any shape.
    """
    sigma = np.zeros_like(position, dtype=np.float64)
    depths = (-position, position - (axis.n - 1))
    for depth, cells in zip(depths, axis.layer, strict=True):
        if cells:
            sigma += sigma_max * (np.maximum(depth, 0) / cells) ** 2
    return 1 + 1j * sigma / (2 * math.pi * frequency)


def node_positions(axis: Axis) -> np.ndarray:
    """Positions of the padded nodes, in cells from the first model node."""
    return np.arange(axis.padded) - float(axis.layer[0])
