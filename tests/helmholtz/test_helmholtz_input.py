"""Bad input, warnings, conformance, memory."""

import gc
import resource
import warnings

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mempost.core.errors import NonFiniteError, ShapeError
from mempost.methods.waves.checks import CoarseGridWarning, UnphysicalModelError
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.testing import check_operator


def small(**changes):
    fields = {
        "shape": (8, 7),
        "spacing": 0.04,
        "frequencies": (4.0,),
        "sources": [[0.05, 0.03], [0.2, 0.05]],
        "receivers": [[0.03, 0.25], [0.2, 0.26], [0.3, 0.2]],
        **changes,
    }
    return Helmholtz(**fields)


def background(*shape):
    return torch.full(shape, 0.25, dtype=torch.float64)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (float("nan"), NonFiniteError, "squared slowness is not finite at sample 1"),
        (float("inf"), NonFiniteError, "squared slowness is not finite at sample 1"),
        (0.0, UnphysicalModelError, r"is 0 s\^2/km\^2 in model 1 at node \(3, 2\); allowed"),
        (-0.1, UnphysicalModelError, r"is -0.1 s\^2/km\^2 in model 1 at node \(3, 2\); allowed"),
        (4.0, UnphysicalModelError, "3.12 points per wavelength in model 1 at 4 Hz; at least 4"),
    ],
)
@pytest.mark.parametrize("backend", ["superlu", "batched"])
def test_models_that_are_refused(value, kind, message, backend):
    m = background(2, 8, 7)
    m[1, 3, 2] = value
    operator = small(backend=backend)
    for call in (operator, operator.jacobian, lambda x: operator.jvp(x, x)):
        with pytest.raises(kind, match=message) as error:
            call(m)
        assert "\n" not in str(error.value)


def test_wrong_shape():
    with pytest.raises(ShapeError, match=r"shape \(8, 7\), found \(7, 8\)"):
        small()(background(2, 7, 8))
    with pytest.raises(ShapeError):
        small().jacobian(background(2, 7, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sources": [[0.05, 0.03], [0.33, 0.1]]},
            r"sources\[1\] at \(0.33, 0.1\) km lies outside",
        ),
        ({"receivers": [[0.1, -0.01]]}, r"receivers\[0\] at \(0.1, -0.01\) km lies outside"),
        ({"sources": [[0.1, 0.1, 0.1]]}, "pairs"),
        ({"sources": {"start": [0, 0], "stop": [0.1, 0.1], "numbr": 3}}, "numbr"),
        ({"sources": []}, "2 axes"),
        ({"frequencies": []}, "frequencies"),
        ({"frequencies": [0.0]}, "frequencies"),
        ({"frequencies": [float("nan")]}, "finite"),
        ({"shape": (3, 8)}, "shape"),
        ({"spacing": -1.0}, "spacing"),
        ({"stencil": "seven_point"}, "five_point"),
        ({"free_surface": ["bottm"]}, "bottom"),
        ({"free_surface": ["left", "right", "top", "bottom"]}, "free_surface"),
        ({"backend": {"type": "superlu", "threads": 2}}, "threads"),
    ],
)
def test_hyper_parameters_that_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        small(**changes)


def test_a_coarse_grid_warns_once_with_the_expected_error():
    operator = small(stencil="five_point", spacing=0.06, frequencies=(5.0,))
    with pytest.warns(CoarseGridWarning, match=r"0.06 km is coarse at 5 Hz.* about \d+%"):
        operator(background(1, 8, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator(background(1, 8, 7))
        small()(background(1, 8, 7))


def test_lines_of_positions():
    line = small(sources={"start": (0.05, 0.03), "stop": (0.2, 0.05), "number": 2})
    assert line == small()
    assert hash(line) == hash(small())


def test_several_frequencies_are_stacked():
    m = background(2, 8, 7)
    operator = small(frequencies=(3.0, 4.0))
    both = operator(m)
    assert both.shape == (2, *operator.range_shape((8, 7))) == (2, 2, 2, 3)
    layers = {"pml_width": operator.layers.cells * 0.04, "pml_max": operator.layers.sigma_max}
    assert torch.equal(both[:, 1:], small(**layers)(m))


def test_wavefields_are_read_at_the_receivers():
    operator = small(shape=(8, 14), receivers=[[0.1, 0.46], [0.26, 0.5]])  # nodes (2, 11), (6, 12)
    m = background(1, 8, 14)
    fields = operator.grid.interior(operator.wavefields(m, 4.0))
    expected = torch.stack([fields[..., 2, 11], fields[..., 6, 12]], -1)
    assert torch.allclose(operator(m)[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stencil": "five_point", "shape": (9, 7)},
        {"frequencies": (3.0, 4.0), "free_surface": ("top",), "backend": "batched"},
    ],
    ids=["compact", "five_point", "free surface, batched"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_public_checks(changes):
    operator = small(**changes)
    noise = np.random.default_rng(0).standard_normal((4, *operator.shape))
    check_operator(operator, models=torch.from_numpy(0.25 + 0.02 * noise))


def growth(gradients):
    """Memory (MB) that gradients add, after a run-in."""
    line = {"start": (0.05, 0.05), "stop": (0.9, 0.05), "number": 3}
    operator = Helmholtz(
        shape=(24, 24),
        spacing=0.04,
        sources=line,
        receivers={**line, "start": (0.05, 0.9), "stop": (0.9, 0.9)},
        pml_width=0.2,
    )
    rng = np.random.default_rng(0)

    def run(n):
        for _ in range(n):
            m = torch.from_numpy(0.25 + 0.01 * rng.standard_normal((1, 24, 24))).float()
            operator.vjp(m, torch.ones(1, 1, 3, 3, dtype=torch.complex64))
        gc.collect()
        return resident()

    before = run(200)
    return run(gradients) - before


def resident():
    """Resident memory (MB)."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        pytest.skip("no /proc on this system")


def test_gradients_leave_no_objects_behind():
    operator = small()
    m = background(1, 8, 7)
    ones = torch.ones(1, 1, 2, 3, dtype=torch.complex128)
    operator.vjp(m, ones)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        operator.vjp(m, ones)
    gc.collect()
    assert len(gc.get_objects()) - before < 20


@pytest.mark.slow
def test_ten_thousand_gradients_do_not_grow_memory():
    assert growth(10_000) < 10
