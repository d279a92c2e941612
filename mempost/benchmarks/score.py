"""The empirical score by matrix products, against the tensor of all differences.

    grad log p(z) = sum_n w_n(z) (x_n - z) / s^2,        w(z) = softmax(-|z - x_n|^2 / (2 s^2))

Written down as it stands this takes a tensor of batch x N x d differences, which is what most
published code does. Both forms are timed in the same process on the same numbers, best of several
runs, and must agree.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mempost.core.level import NoiseLevel
from mempost.methods.mixtures.kernel_mixture import KernelMixture

D = 100
QUERIES = 256
N = 10_000
LEVELS = {"moderate noise": 3.0, "small noise": 0.1}
"""Data points are about 14 apart: at s = 3 some 90 of 10 000 weights matter, at s = 0.1 one."""


def run(quick: bool) -> list[dict[str, Any]]:
    """Rows with ``name``, ``seconds``, ``speedup`` and what they were measured against.

    ``speedup`` is the time of the difference tensor over ours. The last row, N = 1 000 000 (100 000
    if ``quick``), has none, as the differences would not fit, and tells the ``peak_mib`` of a
    process that does nothing else.
    """
    rows = [
        _compare(dtype, label, s, repeats=2 if quick else 5)
        for dtype in (torch.float32, torch.float64)
        for label, s in LEVELS.items()
    ]
    return [*rows, _large(100_000 if quick else 1_000_000)]


def difference_tensor_score(z: Tensor, x: Tensor, s: float) -> Tensor:
    """The formula as it stands, with its (batch, N, d) tensor."""
    differences = x[None] - z[:, None]
    w = torch.softmax(-(differences**2).sum(-1) / (2 * s**2), -1)
    return (w[..., None] * differences / s**2).sum(1)


def _compare(dtype: torch.dtype, label: str, s: float, repeats: int) -> dict[str, Any]:
    x, z = _data(N, s, dtype)
    prior, level = KernelMixture(x, 0.0), NoiseLevel(1.0, s)
    expected, theirs = _best_time(lambda: difference_tensor_score(z, x, s), repeats)
    found, ours = _best_time(lambda: prior.score(z, level), 4 * repeats)
    return {
        "name": f"score, N = {N}, d = {D}, {QUERIES} queries, {_name(dtype)}, {label} (s = {s})",
        "seconds": ours,
        "speedup": theirs / ours,
        "difference_tensor_seconds": theirs,
        "relative_error": float((found - expected).norm() / expected.norm()),
        "threads": torch.get_num_threads(),
    }


def _large(n: int) -> dict[str, Any]:
    """Time and peak memory of a fresh process, so that nothing else counts."""
    code = f"from mempost.benchmarks.score import large_row; large_row({n})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def large_row(n: int) -> None:
    """Print the row of a large training set as JSON."""
    s = LEVELS["moderate noise"]
    x, z = _data(n, s, torch.float32)
    prior, level = KernelMixture(x, 0.0), NoiseLevel(1.0, s)
    _, seconds = _best_time(lambda: prior.score(z, level), 2)
    row = {
        "name": f"score, N = {n}, d = {D}, {QUERIES} queries, float32, moderate noise (s = {s})",
        "seconds": seconds,
        "speedup": None,
        "peak_mib": _peak_mib(),
        "data_mib": round(x.numel() * x.element_size() / 2**20),
        "difference_tensor_mib": round(x.numel() * x.element_size() * QUERIES / 2**20),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(row))


def _peak_mib() -> int:
    """Largest resident memory of this process.

    Linux keeps the parent's peak in ``ru_maxrss`` across fork and exec, so its own file is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(text for text in status.read_text().splitlines() if text.startswith("VmHWM"))
        return round(int(line.split()[1]) / 2**10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _data(n: int, s: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Standard normal data and noised data points."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, D, generator=generator, dtype=dtype)
    return x, x[:QUERIES] + s * torch.randn(QUERIES, D, generator=generator, dtype=dtype)


def _best_time(f: Callable[[], Tensor], repeats: int) -> tuple[Tensor, float]:
    """The result, and the shortest of ``repeats`` runs after one to warm up."""
    result, seconds = f(), []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
