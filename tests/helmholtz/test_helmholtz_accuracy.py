"""Accuracy against Green's functions and against another fourth-order scheme."""

import numpy as np
import pytest
import torch
from plain_form import plain_data
from scipy.special import hankel1

from mempost.core.arrays import FrozenArray
from mempost.plugins.operators.helmholtz import Helmholtz

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
BOUND = {0.04: 0.021, 0.02: 0.0014, 0.01: 0.0001}


def square(spacing, **changes):
    """2 km square at 6 Hz with positions off the grid, and layers of the same width on each."""
    n = round(2 / spacing)
    fields = {
        "receivers": {"start": (0.025, 1.975), "stop": (1.975, 1.975), "number": 50},
        "pml_width": 0.3,
        "pml_max": 250.0,
        **changes,
    }
    return Helmholtz(shape=(n, n), spacing=spacing, **fields)


def on_nodes(spacing):
    """The same with every position on a node, in the first and the last row."""
    n = round(2 / spacing)
    first, last = spacing / 2, 2 - spacing / 2
    x_s, x_r = ((np.linspace(0, n - 1, k).astype(int) + 0.5) * spacing for k in (15, 50))
    return square(spacing, sources=[(x, first) for x in x_s], receivers=[(x, last) for x in x_r])


def distances(operator, mirror=(1, 1)):
    gaps = operator.sources.numpy()[:, None] * mirror - operator.receivers.numpy()
    return np.linalg.norm(gaps, axis=-1)


def green(distance, operator, velocity=2.0):
    return -0.25j * hankel1(0, 2 * np.pi * operator.frequencies[0] / velocity * distance)


def relative(found, expected):
    expected = torch.as_tensor(expected)
    return float((found - expected).norm() / expected.norm())


def homogeneous(operator, dtype=torch.float64):
    return operator(torch.full((1, *operator.shape), 0.25, dtype=dtype))[0, 0]


@pytest.mark.parametrize("build", [square, on_nodes], ids=["off the grid", "on nodes"])
def test_compact_against_the_hankel_function(build):
    errors = {}
    for spacing, bound in BOUND.items():
        operator = build(spacing)
        errors[spacing] = relative(homogeneous(operator), green(distances(operator), operator))
        assert errors[spacing] <= bound
    assert np.log2(errors[0.04] / errors[0.02]) >= 3.7
    assert np.log2(errors[0.02] / errors[0.01]) >= 3.7


def test_five_point_has_second_order():
    errors = [
        relative(homogeneous(operator), green(distances(operator), operator))
        for operator in (square(0.02, stencil="five_point"), square(0.01, stencil="five_point"))
    ]
    assert 0.04 < errors[1] < 0.06
    assert 1.8 < np.log2(errors[0] / errors[1]) < 2.2


def smooth_medium(x, z):
    """Squared slowness 0.30 at the sources and 0.20 at the receivers, flat at the edges."""
    return 0.25 + 0.05 * np.cos(np.pi * z / 2) * (1 - 0.2 * np.sin(np.pi * x / 2) ** 2)


def errors_in_smooth_medium(spacings, fine):
    operator = square(fine)
    positions = operator.sources.numpy(), operator.receivers.numpy()
    cells = operator.grid.axes[0].layer[0]
    exact = plain_data(smooth_medium, round(2 / fine), fine, 6.0, *positions, cells)
    errors = []
    for spacing in spacings:
        operator = square(spacing)
        node = (np.arange(operator.shape[0]) + 0.5) * spacing
        m = torch.from_numpy(smooth_medium(node[:, None], node[None]))[None]
        errors.append(relative(operator(m)[0, 0], exact))
    return errors


def test_order_in_a_medium_that_differs_between_sources_and_receivers():
    coarse, fine = errors_in_smooth_medium((0.04, 0.02), fine=0.01)
    assert np.log2(coarse / fine) >= 3.7


@pytest.mark.slow
def test_order_in_a_smooth_medium_down_to_the_finest_grid():
    errors = errors_in_smooth_medium((0.04, 0.02, 0.01), fine=0.005)
    assert np.all(np.log2(np.divide(errors[:-1], errors[1:])) >= 3.7)


def test_free_surface_by_the_method_of_images():
    errors = {}
    for stencil, spacings in (("compact", (0.04, 0.02)), ("five_point", (0.02, 0.01))):
        for spacing in spacings:
            operator = square(
                spacing,
                stencil=stencil,
                free_surface=("top",),
                sources=[(0.5, 0.21), (1.43, 0.33)],
                receivers=[(0.3, 1.3), (1.1, 1.77), (1.9, 1.51), (1.7, 0.01)],
            )
            images = green(distances(operator), operator) - green(
                distances(operator, mirror=(1, -1)), operator
            )
            errors[stencil, spacing] = relative(homogeneous(operator), images)
    assert errors["compact", 0.02] < 0.003
    assert np.log2(errors["compact", 0.04] / errors["compact", 0.02]) >= 3.7
    assert 1.8 < np.log2(errors["five_point", 0.02] / errors["five_point", 0.01]) < 2.2


@pytest.mark.parametrize("stencil", ["compact", "five_point"])
def test_reciprocity(stencil):
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.1, 0.7, (3, 2)), rng.uniform(0.9, 1.9, (4, 2))
    operator = square(0.04, stencil=stencil, sources=first, receivers=second)
    exchanged = square(0.04, stencil=stencil, sources=second, receivers=first)
    m = torch.from_numpy(rng.uniform(0.2, 0.3, (1, 50, 50)))
    assert relative(operator(m)[0, 0], exchanged(m)[0, 0].mT) < 1e-9


def test_waves_do_not_come_back_from_the_layers():
    """The same medium in a wider model, so that the layers are elsewhere."""
    near = square(0.02, sources=[(1.0, 0.5)], receivers=[(0.3, 1.3), (1.7, 1.5)])
    shifted = [(p[0] + 0.4, p[1] + 0.4) for p in ((1.0, 0.5), (0.3, 1.3), (1.7, 1.5))]
    far = near.model_copy(
        update={"shape": (140, 140)}
        | {k: FrozenArray(v) for k, v in (("sources", shifted[:1]), ("receivers", shifted[1:]))}
    )
    assert relative(homogeneous(near), homogeneous(far)) < 2e-4


def test_error_is_foreseen_within_a_factor_of_two():
    for stencil, spacing in (("compact", 0.04), ("compact", 0.02), ("five_point", 0.02)):
        operator = square(spacing, stencil=stencil)
        solver = operator.factorisation(6.0)
        expected = solver.discretisation.expected_error(0.5, solver.distance)
        found = relative(homogeneous(operator), green(distances(operator), operator))
        assert expected / 2.5 < found < 1.5 * expected
