"""What the absorbing layers that the wave operator chooses send back.

A homogeneous model of n x n nodes has its sources two nodes from a layer, in the middle of a side
and in a corner, and receivers two nodes from the other layers and along the same one: waves meet
layers at every angle. ``layers`` is the relative error of the data against wide layers on the same
grid, for the worse of the two sources; ``data`` the one against the Green's function
-(i/4) H_0^(1)(k r), dispersion included.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from scipy.special import hankel1
from torch import Tensor

from mempost.core.errors import MempostWarning
from mempost.methods.waves.stencils import STENCILS, StencilName
from mempost.plugins.operators.helmholtz import Helmholtz

SPACING = 0.02
POINTS = (4.5, 6.0, 10.0, 15.0, 25.0, 50.0)
VELOCITIES = (0.5, 1.0, 2.0, 4.5, 6.0)


def run(quick: bool) -> list[dict[str, Any]]:
    """Rows by stencil, nodes, points per wavelength and velocity (km/s).

    ``quick`` leaves out 100 nodes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MempostWarning)
        return [
            _row(nodes, points, velocity, stencil)
            for stencil in STENCILS
            for nodes in ((30,) if quick else (30, 100))
            for points in POINTS
            for velocity in VELOCITIES
        ]


def _row(
    nodes: int, points: float, velocity: float, stencil: StencilName = "compact"
) -> dict[str, Any]:
    frequency = velocity / (points * SPACING)
    near, far, middle = 2, nodes - 3, nodes // 2
    line = np.arange(nodes // 3, nodes - 2)
    receivers = np.concatenate(
        [
            np.stack([np.arange(near, far + 1), np.full(far - near + 1, far)], 1),
            np.stack([np.full(len(line), far), line], 1)[:-1],
            np.stack([line[line > middle], np.full((line > middle).sum(), near)], 1)[:-1],
        ]
    )
    operator = Helmholtz(
        shape=(nodes, nodes),
        spacing=SPACING,
        frequencies=(frequency,),
        stencil=stencil,
        sources=(np.array([[middle, near], [near, near]]) + 0.5) * SPACING,
        receivers=(receivers + 0.5) * SPACING,
    )
    width = max(40, math.ceil(1.5 * points)) * SPACING
    wide = operator.model_copy(
        update={"pml_width": width, "pml_max": 3 * 40 * velocity / (2 * width)}
    )
    m = torch.full((1, nodes, nodes), velocity**-2, dtype=torch.float64)
    data, reference = operator(m)[0, 0], wide(m)[0, 0]
    distance = np.linalg.norm(
        operator.sources.numpy()[:, None] - operator.receivers.numpy(), axis=-1
    )
    green = torch.from_numpy(-0.25j * hankel1(0, 2 * math.pi * frequency / velocity * distance))
    return {
        "stencil": stencil,
        "nodes": nodes,
        "points_per_wavelength": points,
        "velocity": velocity,
        "cells": operator.layers.cells,
        "layers": _worst(data, reference),
        "data": _worst(data, green),
    }


def _worst(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())
