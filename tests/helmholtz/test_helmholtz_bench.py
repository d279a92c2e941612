"""The benchmark measures what it says: the reference method is right, rows are complete."""

import numpy as np
import pytest
import torch

from mempost.benchmarks import helmholtz as bench
from mempost.benchmarks._helmholtz_reference import ReferenceMethod

COLUMNS = {
    "stencil",
    "dx",
    "dtype",
    "backend",
    "unknowns",
    "error",
    "seconds_per_gradient",
    "speedup",
}


def test_reference_method_gives_the_data_and_the_inner_gradient():
    case = bench.Case("five_point", 0.01, "complex128", "superlu")
    layers = {"pml_width": ReferenceMethod.cells * 0.01, "pml_max": ReferenceMethod.sigma_max}
    operator = case.operator().model_copy(update=layers)
    m = bench._models(1, operator.shape, torch.float64)
    expected = operator(m)
    _, gradient = operator.vjp(m, 0.1 * expected)
    method = ReferenceMethod(bench.NODES["sources"], bench.NODES["receivers"])
    data, _ = method.gradient(m[0].numpy(), np.zeros((15, 196)))
    _, found = method.gradient(m[0].numpy(), 0.9 * expected[0, 0].numpy())
    assert np.linalg.norm(data - expected[0, 0].numpy()) < 1e-3 * np.linalg.norm(expected)
    inner = gradient[0, 1:-1, 1:-1].numpy()
    assert np.linalg.norm(found[1:-1, 1:-1] - inner) < 1e-3 * np.linalg.norm(inner)


@pytest.mark.parametrize(("backend", "batch"), [("superlu", 1), ("batched", 2)])
def test_rows_are_complete(backend, batch, monkeypatch):
    monkeypatch.setattr(bench.Case, "threads", 1)  # two would wait for cores that others have
    row = bench._measure(bench.Case("compact", 0.04, "complex64", backend, batch), 1.0, quick=True)
    assert row.keys() >= COLUMNS
    assert row["unknowns"] == 66**2
    assert row["error"] < 0.5 * 0.0486
    assert row["rounding"] < 1e-4
    assert row["factorisations"] == 1
    assert row["speedup"] == pytest.approx(1 / row["seconds_per_gradient"])


def test_threads_are_as_many_as_before():
    """Of torch, and of the MKL inside it, which only this text tells."""
    before = torch.__config__.parallel_info()
    with bench.limited_threads(torch.get_num_threads() + 1):
        assert torch.__config__.parallel_info() != before
    assert torch.__config__.parallel_info() == before


def test_a_missing_backend_leaves_its_rows_out(monkeypatch):
    from mempost.methods.waves.backends import mkl

    monkeypatch.setattr(mkl, "_path", lambda: None)
    mkl.library.cache_clear()
    try:
        case = bench.Case("compact", 0.04, "complex64", "pardiso")
        assert bench._measure(case, 1.0, quick=True) is None
    finally:
        mkl.library.cache_clear()


@pytest.mark.slow
def test_workers_are_measured():
    one, two = bench._workers(20)
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["scaling"] == 1 and two["gradients_per_second"] > 0
