"""The linearised mixture at the size of full-waveform inversion, against its matrix products.

N components with Jacobians of their own, m = 5880 real data, d = 100 unknowns. Whatever the method,
each component needs J^T J and J^T r; ``product_seconds`` is the time of these alone, on the same
blocks in the same process, and ``ratio`` that of everything but the Jacobians themselves over it.
Jacobians are streamed: they are made block by block, and forgotten. ``error`` is the largest one of
20 components against a dense computation by singular values in NumPy, relative in log N(y; ...),
in units of the prior's bandwidth in the means.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mempost.benchmarks.score import _peak_mib
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.problem import InverseProblem
from mempost.methods.mixtures.kernel_mixture import KernelMixture
from mempost.methods.posteriors.linearisation_store import BLOCK
from mempost.methods.posteriors.linearised_mixture import LinearisedMixture

M, D = 5880, 100
BANDWIDTH, NOISE = 0.03, 0.5
CHECKED = 20


class Warped(ForwardOperator):
    """F(x) = B (x + x^3 / 10): another Jacobian B diag(1 + 0.3 x^2) everywhere."""

    m: int
    seconds: ClassVar[list[float]] = []

    def range_shape(self, domain_shape: Shape) -> Shape:
        return (self.m,)

    def forward(self, x: Tensor) -> Tensor:
        return (x + 0.1 * x**3) @ _features(self.m, x.shape[1])

    def jacobian(self, x: Tensor, basis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        start = time.perf_counter()
        rows = _features(self.m, x.shape[1]) * (1 + 0.3 * x[..., None] ** 2)
        pair = self(x), rows.mT if basis is None else rows.mT @ basis
        self.seconds.append(time.perf_counter() - start)
        return pair


def run(quick: bool) -> list[dict[str, Any]]:
    """Rows with ``name``, ``seconds``, ``ratio``, ``error``, ``peak_mib`` and what they consist of.

    ``disk_mib`` is what the Jacobians would take if they were kept. The last row is the time for a
    further data set, with N = 50 Jacobians remembered.
    """
    code = "from mempost.benchmarks.mixture import large_row; large_row({})"
    command = [sys.executable, "-c", code.format(60 if quick else 1000)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(done.stdout), _further_data(50)]


def large_row(n: int) -> None:
    """Print the row of N components as JSON; a process of its own tells its peak memory."""
    problem = _problem(n)
    torch.linalg.cholesky(torch.eye(8, dtype=torch.float64))  # libraries are loaded before
    LinearisedMixture.of(_problem(1))
    Warped.seconds.clear()
    start = time.perf_counter()
    mixture = LinearisedMixture.of(problem)
    total, jacobians = time.perf_counter() - start, sum(Warped.seconds)
    peak = _peak_mib()
    products = _product_seconds(problem)
    row = {
        "name": f"mixture, N = {n}, m = {M}, d = {D}, streamed",
        "seconds": total,
        "jacobian_seconds": jacobians,
        "product_seconds": products,
        "ratio": (total - jacobians) / products,
        "error": _error(problem, mixture),
        "peak_mib": peak,
        "disk_mib": round(n * M * (D + 1) * 8 / 2**20),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(row))


def _further_data(n: int) -> dict[str, Any]:
    problem = _problem(n)
    LinearisedMixture.of(problem)
    seconds = []
    for k in range(5):
        other = problem.with_data(problem.y + 0.01 * k)
        start = time.perf_counter()
        LinearisedMixture.of(other)
        seconds.append(time.perf_counter() - start)
    return {
        "name": f"mixture, N = {n}, m = {M}, d = {D}, a further data set",
        "seconds": min(seconds),
        "peak_mib": None,
        "threads": torch.get_num_threads(),
    }


def _product_seconds(problem: InverseProblem) -> float:
    """J^T J and J^T r for all components, block by block, without the making of J."""
    seconds = 0.0
    for x in problem.prior.means.split(max(1, BLOCK // (M * D))):  # type: ignore[attr-defined]
        y, j = problem.operator.jacobian(x)
        transposed, r = j.mT, problem.y - y
        start = time.perf_counter()
        transposed @ j
        r[:, None] @ j
        seconds += time.perf_counter() - start
    return seconds


def _error(problem: InverseProblem, mixture: LinearisedMixture) -> float:
    """Largest error of evenly chosen components, against singular values."""
    means = problem.prior.means  # type: ignore[attr-defined]
    chosen = torch.linspace(0, len(means) - 1, min(CHECKED, len(means))).long()
    worst = 0.0
    for k in chosen.tolist():
        y, j = problem.operator.jacobian(means[k, None])
        u, s, vt = np.linalg.svd(j[0].numpy() / NOISE, full_matrices=False)
        r = (problem.y - y[0]).numpy() / NOISE
        c, shrink = r @ u, 1 / (1 + (BANDWIDTH * s) ** 2)
        mean = means[k].numpy() + BANDWIDTH**2 * (s * shrink * c) @ vt
        quadratic = c**2 @ shrink + ((r - u @ c) ** 2).sum()
        log_det = np.log1p((BANDWIDTH * s) ** 2).sum()
        evidence = -0.5 * (quadratic + log_det) - M * (np.log(NOISE) + 0.5 * np.log(2 * np.pi))
        found = float(mixture.component_log_evidences[k])
        shift = np.abs(mixture.component_means[k].numpy() - mean).max() / BANDWIDTH
        worst = max(worst, shift, abs(found - evidence) / abs(evidence))
    return float(worst)


def _problem(n: int) -> InverseProblem:
    means = _normal(n, D, seed=1)
    prior, operator = KernelMixture(means, BANDWIDTH), Warped(m=M)
    y = operator(means[:1] + BANDWIDTH * _normal(1, D, seed=2))[0] + NOISE * _normal(M, seed=3)
    return InverseProblem(prior, operator, GaussianNoise(NOISE), y)


def _features(m: int, d: int) -> Tensor:
    key = (m, d)
    if key not in _FEATURES:
        _FEATURES[key] = _normal(d, m, seed=4)
    return _FEATURES[key]


_FEATURES: dict[tuple[int, int], Tensor] = {}


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
