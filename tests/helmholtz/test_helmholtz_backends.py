"""Every backend against dense algebra, and what is particular to each."""

import gc

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mempost.core.counters import counting
from mempost.core.errors import PluginError
from mempost.core.registry import REGISTRIES
from mempost.methods.waves.backends import mkl
from mempost.methods.waves.backends import pardiso as pardiso_module
from mempost.methods.waves.backends.batched import Batched
from mempost.methods.waves.backends.pardiso import Pardiso, PardisoAnalysis
from mempost.methods.waves.backends.protocol import Layout
from mempost.methods.waves.backends.superlu import SuperLU
from mempost.methods.waves.backends.symmetric_inverse import symmetric_inverse
from mempost.methods.waves.bands import CROSS, SQUARE
from mempost.plugins.operators.helmholtz import Helmholtz

needs_mkl = pytest.mark.skipif(mkl._path() is None, reason="MKL is not installed")
BACKENDS = [SuperLU(), Batched(), pytest.param(Pardiso(), marks=needs_mkl)]
NAMES = ["superlu", "batched", "pardiso"]


def symmetric_bands(layout, batch, dtype, seed=0):
    """Random complex-symmetric matrices with a dominant diagonal, as bands and dense."""
    rng = np.random.default_rng(seed)
    n = layout.shape[0] * layout.shape[1]
    row, column, position = layout.entries()
    dense = np.zeros((batch, n, n), complex)
    values = rng.standard_normal((batch, len(row), 2)) @ (1, 1j)
    dense[:, row, column] = values
    dense = dense + dense.swapaxes(1, 2)
    dense[:, np.arange(n), np.arange(n)] += 12 + 4j
    bands = np.zeros((batch, len(layout.offsets) * n), complex)
    bands[:, position] = dense[:, row, column]
    shape = (batch, len(layout.offsets), *layout.shape)
    return torch.from_numpy(bands).reshape(shape).to(dtype), torch.from_numpy(dense)


@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
@pytest.mark.parametrize("offsets", [CROSS, SQUARE], ids=["cross", "square"])
@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (6, 6), (40, 37)], ids=str)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.complex128, 1e-12), (torch.complex64, 1e-5)]
)
def test_solution_against_dense_algebra(backend, offsets, shape, dtype, tolerance):
    layout = Layout(shape, offsets)
    bands, dense = symmetric_bands(layout, 3, dtype)
    b = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 4, *shape, 2)) @ (1, 1j))
    u = backend.analyse(layout, dtype).factor(bands).solve(b.to(dtype))
    assert u.dtype == dtype and u.shape == b.shape
    expected = torch.linalg.solve(dense, b.flatten(2).mT).mT.reshape(b.shape)
    assert float((u - expected).norm() / expected.norm()) < tolerance


def operator(backend, **changes):
    fields = {
        "shape": (50, 50),
        "receivers": {"start": (0.025, 1.975), "stop": (1.975, 1.975), "number": 40},
        **changes,
    }
    return Helmholtz(backend=backend, **fields)


def models(n, seed=0):
    noise = np.random.default_rng(seed).standard_normal((n, 6, 6))
    field = torch.nn.functional.interpolate(
        torch.from_numpy(noise)[None], (50, 50), mode="bicubic", align_corners=True
    )[0]
    return 0.25 + 0.02 * field


@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
@pytest.mark.parametrize("stencil", ["compact", "five_point"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_single_precision_data_and_gradients(backend, stencil):
    m = models(4)
    exact = operator("superlu", stencil=stencil)
    d = exact(m)
    _, gradient = exact.vjp(m, d)
    found = operator(backend, stencil=stencil)
    d32, gradient32 = found.vjp(m.float(), d.to(torch.complex64))
    assert float((d32 - d).norm() / d.norm()) < 1e-4
    assert float((gradient32 - gradient).norm() / gradient.norm()) < 1e-4


def test_refinement_is_not_paid_for_where_the_residual_is_small():
    m = models(2).float()
    plain = operator({"type": "batched", "refinement": 0})
    with counting() as counts:
        refined = operator({"type": "batched", "refinement": 5})(m)
    assert torch.equal(refined, plain(m))
    assert counts["pde_solves"] == 2 * 15


def test_refinement_repairs_a_factorisation_of_another_model():
    """Refinement converges to the solution of the matrix, not of the factors."""
    op = operator(
        "superlu",
        shape=(12, 12),
        spacing=0.08,
        frequencies=(2.0,),
        sources=[[0.5, 0.1]],
        receivers=[[0.5, 0.8]],
    )
    solver = op.model_copy(update={"backend": SuperLU(refinement=10)}).factorisation(2.0)
    d = solver.discretisation
    m = torch.full((1, 12, 12), 0.25, dtype=torch.float64)
    w = d.density(m)
    b = torch.zeros(1, 1, *d.grid.padded_shape, dtype=w.dtype)
    b[..., 5, 5] = 1
    exact = op.factorisation(2.0).solve(w, b)
    near = op.factorisation(2.0)._factors(d.density(1.005 * m))[1]
    solver._kept = (w.clone(), d.matrix(w), near)
    repaired = solver.solve(w, b)
    assert float((near.solve(b) - exact).norm() / exact.norm()) > 1e-3
    assert float((repaired - exact).norm() / exact.norm()) < 1e-10


@pytest.mark.parametrize("n", [1, 16, 17, 18, 35, 66])
def test_symmetric_inverse(n):
    rng = np.random.default_rng(n)
    a = torch.from_numpy(rng.standard_normal((3, n, n, 2)) @ (1, 1j)) + 8 * torch.eye(n)
    a = a + a.mT
    product = symmetric_inverse(a) @ a
    assert torch.allclose(product, torch.eye(n).to(a.dtype).expand(3, -1, -1), atol=1e-10)


@needs_mkl
def test_pardiso_reuses_slots_and_adds_handles(monkeypatch):
    monkeypatch.setattr(pardiso_module, "SLOTS", 2)
    layout = Layout((6, 5), SQUARE)
    analysis = PardisoAnalysis(layout, torch.complex128)
    bands, dense = symmetric_bands(layout, 5, torch.complex128)
    b = torch.ones(5, 1, 6, 5, dtype=torch.complex128)
    expected = torch.linalg.solve(dense, b.flatten(2).mT).mT.reshape(b.shape)
    for _ in range(3):
        factors = analysis.factor(bands)
        assert torch.allclose(factors.solve(b), expected, rtol=1e-10)
        assert len(analysis.handles) == 3
        del factors
        gc.collect()
    assert [len(handle.free) for handle in analysis.handles] == [2, 2, 2]


def test_missing_mkl_gets_one_clear_line(monkeypatch):
    monkeypatch.setattr(mkl, "_path", lambda: None)
    mkl.library.cache_clear()
    try:
        with pytest.raises(PluginError, match=r"pip install 'mempost\[mkl\]'") as error:
            operator("pardiso")(models(1))
        assert "\n" not in str(error.value)
    finally:
        mkl.library.cache_clear()


def test_unknown_backend_is_refused():
    with pytest.raises(ValidationError, match="superlu"):
        Helmholtz(backend="mumps")


def test_backend_survives_a_round_trip():
    plugin = Helmholtz(backend={"type": "batched", "refinement": 2})
    assert Helmholtz.model_validate(plugin.model_dump(mode="json")) == plugin
    assert REGISTRIES["operator"].name_of(Helmholtz) == "helmholtz"
