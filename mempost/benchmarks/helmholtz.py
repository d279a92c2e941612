"""The wave operator by stencil, spacing, precision and backend, against the reference method.

The setting is a square of 2 km at 6 Hz with 15 sources and 196 receivers. ``error`` is the relative
error of the data in a homogeneous medium against the Green's function -(i/4) H_0^(1)(k r);
``rounding`` the relative difference to complex128; ``seconds_per_gradient`` the best time, for one
model, of data and the gradient of a misfit in a medium that is not homogeneous. ``speedup`` is the
time of the reference method (`ReferenceMethod`), in the same process, over that. Threads are
limited to one for SuperLU and for the reference, which gain nothing from more.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import hankel1
from torch import Tensor

from mempost.benchmarks._helmholtz_reference import ReferenceMethod
from mempost.core.autodiff import value_and_pullback
from mempost.core.counters import counting
from mempost.core.streams import Streams
from mempost.experiments.worker import limited_threads
from mempost.methods.waves.backends import mkl
from mempost.methods.waves.checks import CoarseGridWarning
from mempost.methods.waves.stencils import StencilName
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine

SIDE, SLOWNESS = 2.0, 0.5
NODES = {
    "sources": np.stack([np.linspace(2, 197, 15).astype(int), np.full(15, 2)], axis=1),
    "receivers": np.stack([np.arange(2, 198), np.full(196, 197)], axis=1),
}
"""Positions as nodes of the reference grid, whose spacing is 0.01 km."""
DTYPES = {"complex64": torch.float32, "complex128": torch.float64}
BATCH = 16


@dataclass(frozen=True)
class Case:
    """What one row measures."""

    stencil: StencilName
    dx: float
    dtype: str
    backend: str
    batch: int = 1
    device: str = "cpu"

    @property
    def threads(self) -> int:
        return 1 if self.backend == "superlu" else os.cpu_count() or 1

    def operator(self) -> Helmholtz:
        """The operator of this row."""
        n = round(SIDE / self.dx)
        positions = {name: (nodes + 0.5) * 0.01 for name, nodes in NODES.items()}
        return Helmholtz(
            shape=(n, n), spacing=self.dx, stencil=self.stencil, backend=self.backend, **positions
        )


def run(quick: bool) -> list[dict[str, Any]]:
    """Rows with ``stencil``, ``dx``, ``dtype``, ``backend``, ``unknowns``, ``error``,
    ``seconds_per_gradient``, ``speedup`` and more.

    ``quick`` leaves out the fine grids and takes fewer repetitions. The last two rows tell the
    gradients per second of one and of two worker processes, with one thread each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoarseGridWarning)
        rows = [_reference(repeats=2 if quick else 4)]
        seconds = rows[0]["seconds_per_gradient"]
        rows += [row for case in _cases(quick) if (row := _measure(case, seconds, quick))]
    return [*rows, *_workers(100 if quick else 300)]


def _cases(quick: bool) -> list[Case]:
    grids: list[tuple[StencilName, float]] = [("compact", 0.04), ("five_point", 0.01)]
    if not quick:
        grids += [("compact", 0.02), ("compact", 0.01), ("five_point", 0.02)]
    dtypes = ["complex64"] if quick else list(DTYPES)
    cases = [
        Case(*grid, dtype, backend)
        for grid in grids
        for dtype in dtypes
        for backend in ("superlu", "pardiso")
    ]
    coarse = [grid for grid in grids if grid[1] >= 0.02]
    cases += [Case(*grid, dtype, "batched", BATCH) for grid in coarse for dtype in dtypes]
    if torch.cuda.is_available():
        cases += [
            Case(*grid, dtype, "batched", batch, "cuda")
            for grid in coarse
            for dtype in dtypes
            for batch in (BATCH, 4 * BATCH)
        ]
    return cases


def _measure(case: Case, reference: float, quick: bool) -> dict[str, Any] | None:
    operator, dtype = case.operator(), DTYPES[case.dtype]
    with limited_threads(case.threads):
        m = _models(case.batch, operator.shape, dtype).to(case.device)
        if case.backend == "pardiso" and not mkl.is_installed():
            return None
        data = operator(_homogeneous(operator, dtype).to(case.device))[0, 0].cpu()
        observed = operator(m)
        with counting() as counts:
            _gradient(operator, m, observed)
        repeats = max(3, round((1 if quick else 4) / (200 * case.dx**-2 * 1e-6 * case.batch)))
        repeats = min(repeats, 20 if quick else 60)
        seconds = _best(lambda: _gradient(operator, m, observed), repeats, case.device)
        phases = _phases(operator, m, repeats, case.device)
    exact = _green(operator)
    twin = Case(case.stencil, case.dx, "complex128", "superlu").operator()
    double = (
        data if case.dtype == "complex128" else twin(_homogeneous(operator, torch.float64))[0, 0]
    )
    return {
        "stencil": case.stencil,
        "dx": case.dx,
        "dtype": case.dtype,
        "backend": case.backend,
        "device": case.device,
        "threads": case.threads,
        "batch": case.batch,
        "unknowns": int(np.prod(operator.grid.padded_shape)),
        "error": _relative(data, exact),
        "rounding": _relative(data, double),
        "seconds_per_gradient": seconds / case.batch,
        "speedup": reference * case.batch / seconds,
        "factorisations": counts["factorisations"] / case.batch,
        **{name: value / case.batch for name, value in phases.items()},
    }


def _gradient(operator: Helmholtz, m: Tensor, observed: Tensor) -> Tensor:
    """Gradient of |F(m) - 0.9 observed|^2 / 2."""
    data, pullback = value_and_pullback(operator, m)
    return pullback(data - 0.9 * observed)


def _phases(operator: Helmholtz, m: Tensor, repeats: int, device: str) -> dict[str, float]:
    """Seconds of a factorisation and of one solve for all sources."""
    solver = operator.factorisation(operator.frequencies[0])
    w = solver.discretisation.density(m)
    bands = solver.discretisation.matrix(w)
    analysis = solver.analysis(w.dtype)
    factors = analysis.factor(bands)
    b = torch.ones(len(m), len(operator.sources), *w.shape[1:], dtype=w.dtype, device=device)
    return {
        "seconds_factor": _best(lambda: analysis.factor(bands), repeats, device),
        "seconds_solve": _best(lambda: factors.solve(b), repeats, device),
    }


def _reference(repeats: int) -> dict[str, Any]:
    method = ReferenceMethod(NODES["sources"], NODES["receivers"])
    shape = (method.n, method.n)
    with limited_threads(1):
        homogeneous, _ = method.gradient(np.full(shape, SLOWNESS**2), np.zeros((15, 196)))
        m = _models(1, shape, torch.float64)[0].numpy()
        observed, _ = method.gradient(m, np.zeros((15, 196)))
        seconds = _best(lambda: method.gradient(m, 0.9 * observed), repeats, "cpu")
    exact = _green(Case("five_point", 0.01, "complex64", "superlu").operator())
    return {
        "stencil": "five_point",
        "dx": method.spacing,
        "dtype": "complex64",
        "backend": "reference",
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "unknowns": int(np.prod(method.grid.padded_shape)),
        "error": _relative(torch.from_numpy(homogeneous), exact),
        "seconds_per_gradient": seconds,
        "speedup": 1.0,
        "factorisations": 2,
    }


def _workers(gradients: int) -> list[dict[str, Any]]:
    """Throughput of one and of two processes."""
    case = Case("compact", 0.04, "complex64", "superlu")
    rates = {}
    for workers in (1, 2):
        context = multiprocessing.get_context("spawn")
        barrier, times = context.Barrier(workers), context.Queue()
        processes = [
            context.Process(target=_work, args=(case, gradients, barrier, times))
            for _ in range(workers)
        ]
        for process in processes:
            process.start()
        spans = [times.get(timeout=600) for _ in processes]
        for process in processes:
            process.join()
        starts, ends = zip(*spans, strict=True)
        rates[workers] = workers * gradients / (max(ends) - min(starts))
    return [
        {
            "stencil": case.stencil,
            "dx": case.dx,
            "dtype": case.dtype,
            "backend": case.backend,
            "workers": workers,
            "gradients_per_second": rate,
            "scaling": rate / rates[1],
        }
        for workers, rate in rates.items()
    ]


def _work(case: Case, gradients: int, barrier: Any, times: Any) -> None:
    with limited_threads(1):
        operator = case.operator()
        m = _models(1, operator.shape, DTYPES[case.dtype])
        observed = operator(m)
        for _ in range(5):
            _gradient(operator, m, observed)
        barrier.wait(timeout=600)
        start = time.monotonic()
        for _ in range(gradients):
            _gradient(operator, m, observed)
        times.put((start, time.monotonic()))


def _models(count: int, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Smooth squared slowness between about 0.2 and 0.3 s^2/km^2."""
    z = Streams(0, "truth").at().normal((count, 100))
    return KLCosine(shape=shape)(z).to(dtype)


def _homogeneous(operator: Helmholtz, dtype: torch.dtype) -> Tensor:
    return torch.full((1, *operator.shape), SLOWNESS**2, dtype=dtype)


def _green(operator: Helmholtz) -> Tensor:
    gaps = operator.sources.numpy()[:, None] - operator.receivers.numpy()
    k = 2 * np.pi * operator.frequencies[0] * SLOWNESS
    return torch.from_numpy(-0.25j * hankel1(0, k * np.linalg.norm(gaps, axis=-1)))


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _best(call: Callable[[], object], repeats: int, device: str) -> float:
    """The shortest of several times, after one call that does not count."""

    def finish() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    call()
    times = []
    for _ in range(repeats):
        start = finish()
        call()
        times.append(finish() - start)
    return min(times)
