"""Positions near each other, on each other and on free surfaces."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import hankel1

from mempost.methods.waves.near_field import REACH, Pairs, near_field
from mempost.plugins.operators.helmholtz import Helmholtz

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
N, H, V = 32, 0.04, 2.0


def around(source, radius, number=24):
    """Positions at a distance (cells) from a source that lie in the model."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, number)
    found = source + radius * H * np.stack([np.cos(angle), np.sin(angle)], 1)
    return found[((found > 1e-3) & (found < N * H - 1e-3)).all(1)]


def error(source, receivers, points, **changes):
    """Relative error of data in a homogeneous medium, by images if a surface is free."""
    frequency = V / (points * H)
    operator = Helmholtz(
        shape=(N, N),
        spacing=H,
        frequencies=(frequency,),
        sources=[source],
        receivers=receivers,
        **changes,
    )
    data = operator(torch.full((1, N, N), V**-2, dtype=torch.float64))[0, 0, 0].numpy()

    def green(position):
        distance = np.linalg.norm(position - receivers, axis=1)
        return -0.25j * hankel1(0, 2 * np.pi * frequency / V * distance)

    exact, source = green(source), np.array(source)
    if "top" in changes.get("free_surface", ()):
        exact = exact - green(source * [1, -1])
    if "left" in changes.get("free_surface", ()):
        exact = exact - green(source * [-1, 1]) + green(-source)
    return np.linalg.norm(data - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("cells", [(15.5, 15.5), (16.23, 16.41), (0.6, 16.1), (0.2, 0.3)])
@pytest.mark.parametrize("radius", [0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 9.0])
def test_receivers_close_to_a_source(cells, radius):
    source = np.array(cells) * H
    receivers = around(source, radius)
    assert error(source, receivers, points=10) < 0.02
    assert error(source, receivers, points=20) < 0.004
    assert error(source, receivers, points=20, stencil="five_point") < 0.03


@pytest.mark.parametrize("depth", [0.05, 0.3, 1.2])
@pytest.mark.parametrize("sides", [("top",), ("left", "top")])
def test_receivers_close_to_a_source_under_a_free_surface(depth, sides):
    source = np.array([depth if "left" in sides else 16.3, depth]) * H
    for radius in (0.4, 1.0, 3.0):
        receivers = around(source, radius)
        receivers = receivers[receivers[:, 1] > 0.3 * source[1]]
        assert error(source, receivers, points=20, free_surface=sides) < 0.02


def test_close_receivers_of_a_medium_that_varies():
    """Against the same data on a grid four times as fine, where they are not close."""
    source, receivers = np.array([0.63, 0.66]), around(np.array([0.63, 0.66]), 1.3)
    data = []
    for n in (N, 4 * N):
        x = (np.arange(n) + 0.5) / n
        m = 0.25 + 0.05 * np.cos(np.pi * x)[:, None] * np.cos(2 * np.pi * x)
        operator = Helmholtz(
            shape=(n, n),
            spacing=H * N / n,
            frequencies=(4.0,),
            sources=[source],
            receivers=receivers,
        )
        data.append(operator(torch.from_numpy(m)[None])[0, 0, 0])
    assert (data[0] - data[1]).norm() < 0.005 * data[1].norm()


def test_what_is_added_vanishes_far_from_the_source():
    operator = Helmholtz()
    pairs = Pairs(operator.grid, "compact", operator.sources, operator.receivers)
    assert not near_field(pairs, dtype=torch.float64, device=torch.device("cpu")).any()
    close = Helmholtz(sources=[[1.02, 1.02]], receivers=[[1.02 + (REACH - 0.01) * 0.04, 1.02]])
    pairs = Pairs(close.grid, "compact", close.sources, close.receivers)
    added = near_field(pairs, dtype=torch.float64, device=torch.device("cpu"))
    assert 0 < added.abs().max() < 2e-6


@pytest.mark.parametrize(
    ("side", "position"),
    [
        ("top", [0.5, 0.0]),
        ("bottom", [0.5, N * H]),
        ("left", [0.0, 0.5]),
        ("right", [N * H, 0.5]),
        ("top", [0.5, 1e-10]),
    ],
)
@pytest.mark.parametrize("kind", ["sources", "receivers"])
def test_positions_on_a_free_surface_are_refused(side, position, kind):
    inside = {"sources": [[0.3, 0.3]], "receivers": [[0.7, 0.7]]}
    fields = {"shape": (N, N), "spacing": H, **inside, kind: [[0.4, 0.4], position]}
    Helmholtz(**fields)
    with pytest.raises(ValidationError, match=rf"{kind}\[1\].*free surface '{side}'.*half a cell"):
        Helmholtz(**fields, free_surface=(side,))


def test_positions_on_each_other_are_refused():
    ring = [[0.3, 0.3], [0.7, 0.7], [0.3, 0.7]]
    with pytest.raises(ValidationError, match=r"sources\[1\] and receivers\[2\] are both at \(0.7"):
        Helmholtz(sources=ring[:2], receivers=[[0.5, 0.5], ring[2], ring[1]])
