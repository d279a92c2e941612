"""Absorbing layers as they are chosen: errors against the Hankel function, and warnings."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import hankel1

from mempost.benchmarks import layers as bench
from mempost.core.errors import MempostWarning
from mempost.methods.waves.checks import LayerWarning
from mempost.methods.waves.layers import Layers
from mempost.plugins.operators.helmholtz import Helmholtz


def homogeneous(velocity, frequency, nodes, spacing, **changes):
    """The operator, and the relative error of its data against -(i/4) H_0^(1)(k r).

    The source is in the middle, receivers on a line at the bottom.
    """
    side = nodes * spacing
    operator = Helmholtz(
        shape=(nodes, nodes),
        spacing=spacing,
        frequencies=(frequency,),
        sources=[[side / 2, side / 2]],
        receivers=[[x * side, 0.95 * side] for x in np.linspace(0.05, 0.95, 19)],
        **changes,
    )
    data = operator(torch.full((1, nodes, nodes), velocity**-2, dtype=torch.float64))[0, 0, 0]
    gaps = operator.sources.numpy() - operator.receivers.numpy()
    distance = np.linalg.norm(gaps, axis=1)
    green = -0.25j * hankel1(0, 2 * np.pi * frequency / velocity * distance)
    return operator, float(np.linalg.norm(data.numpy() - green) / np.linalg.norm(green))


@pytest.mark.parametrize(
    ("velocity", "frequency", "nodes", "spacing"),
    [
        (2, 6, 50, 0.04),
        (3, 2, 100, 0.1),
        (3, 1, 100, 0.2),
        (3, 0.5, 100, 0.4),
        (2, 2, 30, 0.05),
        (2, 2, 60, 0.005),  # a third of a wavelength
        (1.5, 20, 100, 0.005),
        (5.5, 20, 120, 0.02),
        (4, 2, 40, 0.05),
        (0.3, 60, 100, 0.0005),
        (0.8, 5, 60, 0.01),
    ],
)
def test_data_are_right_whatever_the_grid(velocity, frequency, nodes, spacing):
    with warnings.catch_warnings():
        warnings.simplefilter("error", MempostWarning)
        operator, error = homogeneous(velocity, frequency, nodes, spacing)
    assert error < 0.01
    assert max(operator.grid.padded_shape) <= nodes + 40


def test_layers_of_a_shallow_survey_are_smaller_than_its_model():
    operator = Helmholtz(
        shape=(100, 100),
        spacing=0.0005,
        frequencies=(60.0,),
        sources=[[0.025, 0.01]],
        receivers=[[0.01, 0.045]],
    )
    assert max(operator.grid.padded_shape) <= 140


@pytest.mark.parametrize(
    ("stencil", "nodes", "points", "velocity", "bound"),
    [
        ("compact", 30, 6.0, 2.0, 6e-3),
        ("compact", 30, 10.0, 1.0, 1e-3),
        ("compact", 30, 25.0, 2.0, 1e-4),
        ("compact", 60, 15.0, 6.0, 5e-3),
        ("five_point", 30, 10.0, 2.0, 5e-3),
        ("five_point", 30, 25.0, 6.0, 6e-3),
    ],
)
def test_what_comes_back_at_all_angles(stencil, nodes, points, velocity, bound):
    row = bench._row(nodes, points, velocity, stencil)
    assert row["layers"] < bound
    assert row["data"] > 0.2 * row["layers"]


@pytest.mark.parametrize(
    ("changes", "velocity", "fault"),
    [
        ({"pml_width": 0.3, "pml_max": 250.0}, 3.0, "damp too much for 3 cells"),
        ({"pml_width": 0.1}, 3.0, "damp too little"),
        ({"pml_max": 20.0}, 3.0, "damp too little"),
        ({}, 40.0, "damp too little"),
        ({}, 2000.0, "damp too little"),  # metres per second
    ],
)
def test_layers_that_do_not_absorb_are_named_once(changes, velocity, fault):
    frequency = velocity / 1.5  # 15 points per wavelength
    with pytest.warns(LayerWarning, match=fault) as found:
        _, error = homogeneous(velocity, frequency, 40, 0.1, **changes)
    assert error > 0.01
    (message,) = [str(w.message) for w in found]
    assert f"set pml_velocity to {velocity:.2g}" in message and "\n" not in message
    with warnings.catch_warnings():
        warnings.simplefilter("error", MempostWarning)
        homogeneous(velocity, frequency, 40, 0.1, **changes)  # the second time in silence


def test_a_velocity_of_its_own_mends_them():
    with warnings.catch_warnings():
        warnings.simplefilter("error", MempostWarning)
        _, error = homogeneous(40.0, 40 / 1.5, 40, 0.1, pml_velocity=40.0)
    assert error < 0.005


def test_what_is_said_is_done():
    chosen = Layers.choose(0.04, 6.0, 4.0)
    assert Layers.choose(0.04, 6.0, 4.0, width=0.3) == chosen  # eight cells either way
    assert Layers.choose(0.01, 6.0, 4.0, width=0.3, sigma_max=200.0) == Layers(30, 0.01, 200.0)
    assert not chosen.fault(2.0, 6.0)
    assert "too thin" in Layers(6, 0.01, 300.0).fault(1.0, 1.0)
