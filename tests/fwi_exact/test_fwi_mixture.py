"""The linearised mixture of wave problems: complex data, limits, reuse, resuming."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fwi_exact_problems import CALLS, cubic, random, shelf, small_fwi

from mempost.core.counters import counting
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.keeping import content_hash
from mempost.core.memory import memory
from mempost.core.operator import compose
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.posteriors import linearisation_store
from mempost.plugins.operators.slowness import Slowness
from mempost.plugins.operators.velocity import Velocity
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights


def with_bandwidth(problem: InverseProblem, bandwidth: float) -> InverseProblem:
    """The same examples under another bandwidth: a prior of its own, as in another run."""
    prior: FittedPrior = EmpiricalGMM(bandwidth=bandwidth).fit(problem.prior.means)  # type: ignore[attr-defined]
    return InverseProblem(prior, problem.operator, problem.noise, problem.y)


def dense(problem: InverseProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances by the complex textbook formulas; J by forward derivatives."""
    prior, h, sigma = problem.prior, problem.prior.bandwidth, problem.noise.std  # type: ignore[attr-defined]
    eye = torch.eye(problem.dimension, dtype=torch.float64)
    log_w, means, covariances = [], [], []
    for x in prior.means:  # type: ignore[attr-defined]
        columns = [problem.operator.jvp(x[None], e[None])[1].flatten() for e in eye]
        j = torch.stack(columns, 1).numpy()
        r = problem.residual(x[None])[0].numpy()
        covariance = np.linalg.inv(np.eye(len(eye)) / h**2 + 2 / sigma**2 * (j.conj().T @ j).real)
        means.append(x.numpy() + covariance @ (2 / sigma**2 * (j.conj().T @ r).real))
        covariances.append(covariance)
        real = np.concatenate([j.real, j.imag])
        marginal = h**2 * real @ real.T + sigma**2 / 2 * np.eye(len(real))
        stacked = np.concatenate([r.real, r.imag])
        quadratic = stacked @ np.linalg.solve(marginal, stacked)
        log_w.append(-0.5 * (quadratic + np.linalg.slogdet(marginal)[1]))
    return np.array(log_w) - np.logaddexp.reduce(log_w), np.array(means), np.array(covariances)


@pytest.mark.parametrize("bandwidth", [0.02, 0.3])
def test_waves_against_the_textbook(bandwidth: float) -> None:
    problem = small_fwi(bandwidth)
    assert problem.dimension < problem.data_dimension
    posterior = ExactLGM().posterior(problem)
    log_w, means, covariances = dense(problem)
    np.testing.assert_allclose(posterior.log_weights, log_w, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(posterior.component_means, means, rtol=0, atol=1e-8)
    found = posterior.component_covariances(torch.arange(len(means)))
    np.testing.assert_allclose(found, covariances, rtol=0, atol=1e-9 * bandwidth**2)


def test_weights_without_bandwidth_are_those_of_forward_solves() -> None:
    problem = small_fwi(0.05)
    direct = FiniteSampleWeights().posterior(with_bandwidth(problem, 0.0)).log_weights
    for bandwidth, rtol in ((1e-4, 1e-3), (0.0, 1e-9)):
        mixture = ExactLGM().posterior(with_bandwidth(problem, bandwidth)).log_weights
        expected = direct - direct[0]
        assert expected.abs().max() > 100
        np.testing.assert_allclose(mixture - mixture[0], expected, rtol=rtol, atol=1e-9)


# -- Jacobians depend on operator and means alone ------------------------------------------------


def test_other_data_noise_and_bandwidth_share_jacobians() -> None:
    problem = small_fwi(0.05)
    with counting() as first:
        ExactLGM().posterior(problem)
    assert first["factorisations"] == 6
    others = [
        problem.with_data(problem.y * 1.1),
        InverseProblem(problem.prior, problem.operator, GaussianNoise(0.1, True), problem.y),
        with_bandwidth(problem, 0.2),
    ]
    for other in others:
        with counting() as counts:
            posterior = ExactLGM().posterior(other)
        assert counts["factorisations"] == 0
        log_w, means, _ = dense(other)
        np.testing.assert_allclose(posterior.log_weights, log_w, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(posterior.component_means, means, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("d", "m"), [(4, 9), (9, 4)])
def test_what_is_too_large_is_streamed(d: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = cubic(d, m, n=7)
    expected = ExactLGM().posterior(problem)
    memory().forget()
    monkeypatch.setattr(linearisation_store, "BLOCK", 2 * d * m)
    monkeypatch.setattr(memory(), "budget", 0)
    CALLS.clear()
    posterior = ExactLGM().posterior(problem)
    assert CALLS == [2, 2, 2, 1]
    torch.testing.assert_close(posterior.log_weights, expected.log_weights)
    torch.testing.assert_close(posterior.component_means, expected.component_means)
    ExactLGM().posterior(problem)
    assert CALLS == 2 * [2, 2, 2, 1]


def test_little_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many Jacobians as the budget allows, those of the problems used last."""
    monkeypatch.setattr(memory(), "budget", 3 * 8 * 5 * (4 * 9 + 9 + 4 * 4 + 20))
    problems = [cubic(4, 9, bend=0.1 + 0.01 * k) for k in range(5)]
    for problem in problems:
        ExactLGM().posterior(problem)
    assert 0 < memory().used <= memory().budget
    CALLS.clear()
    ExactLGM().posterior(problems[-1])
    assert CALLS == []
    ExactLGM().posterior(problems[0])
    assert CALLS == [5]


# -- kept on disk --------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "m"), [(4, 9), (9, 4)])
def test_slices_keep_every_block_once(d: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearisation_store, "BLOCK", 2 * d * m)
    problem, sampler = cubic(d, m, n=7), ExactLGM(slices=3)
    expected = ExactLGM().posterior(problem)
    assert (sampler.preparations, ExactLGM().preparations) == (3, 0)
    with shelf() as kept:
        CALLS.clear()
        for part in (2, 0):
            memory().forget()  # each part in a process of its own
            sampler.prepare(problem, part)
        assert len(kept.saved) == 3  # blocks 2, 0 and 3 of the four
        for part in (0, 1, 2):  # killed, and resumed: finished blocks are not computed again
            memory().forget()
            sampler.prepare(problem, part)
        assert (sum(CALLS), len(kept.saved)) == (7, 4)
        memory().forget()
        CALLS.clear()
        for other in (problem, with_bandwidth(problem, 0.7), problem.with_data(problem.y + 1)):
            memory().forget()
            posterior = sampler.posterior(other)
        assert CALLS == [] and len(kept.saved) == 4
        posterior = sampler.posterior(problem)
        torch.testing.assert_close(posterior.log_weights, expected.log_weights)
        kept.drop(kept.saved[1])  # damaged files are not used
        memory().forget()
        posterior = sampler.posterior(problem)
        assert sum(CALLS) in (1, 2)
        torch.testing.assert_close(posterior.component_means, expected.component_means)


def test_nothing_is_kept_unless_asked_for() -> None:
    with shelf() as kept:
        ExactLGM().posterior(cubic(4, 9))
        ExactLGM(relinearise="map").posterior(cubic(4, 9))
        assert kept.saved == []


def test_names_tell_operators_points_and_precision_apart() -> None:
    x = random(3, 4)
    names = {
        content_hash(compose([Slowness(), cubic(4, 9).operator]), x),
        content_hash(compose([Velocity(), cubic(4, 9).operator]), x),
        content_hash(cubic(4, 9).operator, x),
        content_hash(cubic(4, 9, bend=0.2).operator, x),
        content_hash(cubic(4, 9).operator, x + 1e-15),
        content_hash(cubic(4, 9).operator, x.float()),
        content_hash(cubic(4, 9).operator, x.reshape(4, 3)),
    }
    assert len(names) == 7


def test_a_part_reports_progress() -> None:
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int, note: str = "") -> None:
        seen.append((done, total))

    with shelf():
        ExactLGM(slices=2).prepare(cubic(4, 9), 0, progress)
    assert seen[0] == (0, 1)


def test_marginals_of_waves_are_those_of_draws() -> None:
    posterior = ExactLGM().posterior(small_fwi(0.3, relative=0.5))
    low, high = posterior.credible_intervals(0.8)
    x = posterior.sample(20_000, Streams(1, "sampling"))
    inside = ((x >= low) & (x <= high)).double().mean(0)
    assert (inside - 0.8).abs().max() < 4.5 * (0.16 / 20_000) ** 0.5
    below = (x < low).double().mean(0)
    assert (below - 0.1).abs().max() < 4.5 * (0.09 / 20_000) ** 0.5
