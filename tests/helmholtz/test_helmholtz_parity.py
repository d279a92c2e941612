"""The five-point stencil against the numbers of a published implementation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).parent / "data" / "five_point.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def operator(reference, n):
    spacing = 2 / n
    return Helmholtz(
        shape=(n, n),
        spacing=spacing,
        frequencies=(4.0,) if n == 64 else (6.0,),
        sources=(reference[f"grid{n}_sources"].double() + 0.5) * spacing,
        receivers=(reference[f"grid{n}_receivers"].double() + 0.5) * spacing,
        stencil="five_point",
        pml_width=(10 if n == 64 else 30) * spacing,
        pml_max=100.0 if n == 64 else 200.0,
    )


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_data_of_the_stored_field(reference):
    m = reference["grid64_squared_slowness"][None]
    expected = reference["grid64_data"][0]
    assert relative(operator(reference, 64)(m)[0, 0], expected) < 1e-12
    assert relative(operator(reference, 64)(m.float())[0, 0], expected) < 1e-3


def test_data_from_coefficients(reference):
    forward = operator(reference, 64) @ KLCosine(shape=(64, 64))
    assert relative(forward(reference["grid64_z"])[:, 0], reference["grid64_data"]) < 1e-7


def test_gradient_at_inner_nodes(reference):
    m = reference["grid64_squared_slowness"][None]
    residual = reference["grid64_data"][0] - reference["grid64_data"][1]
    _, gradient = operator(reference, 64).vjp(m, residual[None, None])
    assert relative(gradient[0, 1:-1, 1:-1], reference["grid64_gradient"].double()) < 1e-5


def test_data_and_gradient_on_the_large_grid(reference):
    helmholtz = operator(reference, 200)
    m = KLCosine(shape=(200, 200))(reference["grid200_z"])
    d = helmholtz(m)
    assert relative(d[:, 0, ::7, ::13], reference["grid200_data"]) < 1e-7
    _, gradient = helmholtz.vjp(m[:1], d[:1] - d[1:])
    inner = gradient[0, 1:-1, 1:-1][::6, ::6]
    assert relative(inner, reference["grid200_gradient"].double()) < 1e-5


def test_single_precision_on_the_large_grid(reference):
    forward = operator(reference, 200) @ KLCosine(shape=(200, 200))
    d = forward(reference["grid200_z"][:1].float())
    assert d.dtype == torch.complex64
    assert relative(d[0, 0, ::7, ::13], reference["grid200_data"][0]) < 1e-3
