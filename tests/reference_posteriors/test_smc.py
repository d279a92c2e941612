"""Tempered populations against quadrature and closed forms; resumed to the same bits."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from reference_problems import BANDWIDTHS, PROBLEMS, line, linear_problem, z_scores

from mempost.core.errors import NonFiniteError, PluginError
from mempost.core.keeping import keeping
from mempost.core.prior import State
from mempost.core.streams import Streams
from mempost.plugins.samplers import smc as smc_module
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.quadrature import Quadrature
from mempost.plugins.samplers.smc import SMC

REPLICATES = 20


@cache
def exact(name: str, bandwidth: float):
    problem = PROBLEMS[name](bandwidth)
    posterior = Quadrature().posterior(problem)
    return posterior, posterior.expectation(problem.prior.responsibilities)


def populations(problem, replicates: int, particles: int = 512):
    sampler = SMC(particles=particles)
    return [
        sampler.sample(problem, particles, Streams(seed, "sampling")) for seed in range(replicates)
    ]


def check_against_quadrature(name: str, bandwidth: float, replicates: int, errors: float) -> None:
    """Component masses, moments and evidence over replicated populations."""
    problem, (posterior, masses) = PROBLEMS[name](bandwidth), exact(name, bandwidth)
    runs = populations(problem, replicates)
    found = torch.stack([problem.prior.responsibilities(run.flat).mean(0) for run in runs])
    independent = (masses * (1 - masses) / (replicates * 512)).sqrt()
    assert float(z_scores(found, masses, independent).abs().max()) < errors
    means = torch.stack([run.flat.mean(0) for run in runs])
    assert float(z_scores(means, posterior.mean()).abs().max()) < errors
    squares = torch.stack([(run.flat - posterior.mean()).square().mean(0) for run in runs])
    assert float(z_scores(squares, posterior.covariance().diagonal()).abs().max()) < errors
    estimates = torch.stack([run.stats["log_evidence"][0, 0] for run in runs])
    ratios = (estimates - posterior.log_evidence).exp()
    assert float(z_scores(ratios, torch.ones(()).double()).abs()) < errors


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_figure_1_within_three_standard_errors(name, bandwidth):
    check_against_quadrature(name, bandwidth, REPLICATES, 3)


@pytest.mark.slow
@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_figure_1_without_bias(name, bandwidth):
    """400 populations: a bias of a quarter of one population's error would show."""
    check_against_quadrature(name, bandwidth, 400, 4)


def test_separated_modes_of_unequal_mass():
    """Kernels no chain crosses between: two of them explain the datum, with odds of 3 to 1."""
    problem = line(0.05)
    level = problem.prior.means[[1, 2]]
    # the datum moves the odds: l_1 - l_2 grows linearly in y
    gap = float((problem.forward(level[1:]) - problem.forward(level[:1])).item())
    problem = problem.with_data(problem.y - 0.3**2 * math.log(3) / gap)
    masses = Quadrature().posterior(problem).expectation(problem.prior.responsibilities)
    assert float(masses[1] / masses[2]) == pytest.approx(3, rel=0.1)
    found = torch.stack(
        [problem.prior.responsibilities(r.flat).mean(0) for r in populations(problem, REPLICATES)]
    )
    assert float(z_scores(found, masses, 1e-6).abs().max()) < 3
    assert float(found.std(0).max()) < 3 * math.sqrt(0.25 / 200)  # 512 * 2/5 start near the two


def test_a_stiff_gaussian_in_ten_dimensions():
    """Curvatures from 1 to 1e6: mean and covariance against the closed form."""
    problem = linear_problem(d=10, atoms=1, bandwidth=1.0, stiffness=1e3)
    posterior = ExactLGM().posterior(problem)
    samples = SMC(particles=256).sample(problem, 1024, Streams(0, "sampling"))
    L = torch.linalg.cholesky(posterior.covariance())
    w = torch.linalg.solve_triangular(L, (samples.flat - posterior.mean()).T, upper=False).T
    assert float(w.mean(0).abs().max()) < 4.5 * math.sqrt(2 / 1024)
    assert float((w.var(0) - 1).abs().max()) < 4.5 * math.sqrt(2 * 2 / 1024)
    estimates = samples.stats["log_evidence"][0, ::256]
    assert len(estimates.unique()) == 4
    assert float(estimates.mean()) == pytest.approx(float(posterior.log_evidence), abs=0.6)
    assert samples.stats["population"][0, ::256].tolist() == [0, 1, 2, 3]
    assert int(samples.stats["stages"].min()) > 8
    assert float(samples.stats["acceptance"].mean()) == pytest.approx(0.574, abs=0.1)


def test_any_part_of_a_population_is_as_good_as_the_whole():
    """Draws beyond the number asked for are left out: the first 32 of 64, over 100 seeds."""
    problem, (_, masses) = line(0.3), exact("line", 0.3)
    sampler = SMC(particles=64)
    found = torch.stack(
        [
            problem.prior.responsibilities(
                sampler.sample(problem, 32, Streams(seed, "sampling")).flat
            ).mean(0)
            for seed in range(100)
        ]
    )
    independent = (masses * (1 - masses) / (100 * 32)).sqrt()
    assert float(z_scores(found, masses, independent).abs().max()) < 4


# -- kept and resumed ---------------------------------------------------------------------------


class Shelf(dict):
    """States in memory."""

    load = dict.get
    save = dict.__setitem__

    def drop(self, name: str) -> None:
        self.pop(name, None)

    def mark(self, name: str) -> None:
        pass

    def holds(self, name: str) -> bool:
        return name in self


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_killed_population_is_resumed_to_the_same_bits(monkeypatch, stop):
    monkeypatch.setattr(smc_module, "_SECONDS", -1.0)
    problem, sampler, streams = line(0.3), SMC(particles=64), Streams(4, "sampling")
    steps: list = []
    straight = sampler.sample_tile(problem, 1, streams, lambda *a: steps.append(a))

    shelf, calls = Shelf(), []

    def killed(*args):
        calls.append(args)
        if len(calls) == stop + 1:
            raise KeyboardInterrupt

    with keeping(shelf):
        with pytest.raises(KeyboardInterrupt):
            sampler.sample_tile(problem, 1, streams, killed)
        (state,) = shelf.values()
        assert isinstance(state, State)
        assert state.values["step"] == stop
        again: list = []
        other = sampler.sample_tile(problem, 0, streams)  # another population starts anew
        resumed = sampler.sample_tile(problem, 1, streams, lambda *a: again.append(a))
    assert len(again) == len(steps) - stop
    assert not shelf
    assert torch.equal(resumed.values, straight.values)
    assert not torch.equal(other.values, straight.values)
    for name, value in straight.stats.items():
        assert torch.equal(
            resumed.stats[name],
            value,
        )


def test_kept_states_belong_to_one_problem():
    problem, sampler, streams = line(0.3), SMC(particles=64), Streams(4, "sampling")
    names = {
        sampler._name(problem, 0, streams),
        sampler._name(problem, 1, streams),
        sampler._name(problem, 0, Streams(5, "sampling")),
        sampler._name(line(0.5), 0, streams),
        sampler._name(problem.with_data(problem.y + 1), 0, streams),
        SMC(particles=96)._name(problem, 0, streams),
    }
    assert len(names) == 6
    assert sampler._name(line(0.3), 0, streams) in names


def test_populations_are_the_same_in_any_order():
    problem, streams, sampler = line(0.3), Streams(1, "sampling"), SMC(particles=64)
    together = sampler.sample(problem, 128, streams).flat
    second = sampler.sample_tile(problem, 1, streams)
    first = sampler.sample_tile(problem, 0, streams)
    assert torch.equal(sampler.join([first, second], 128, streams).flat, together)


def test_refusals():
    with pytest.raises(PluginError, match="no log density"):
        SMC().check(line(0.0))
    with pytest.raises(PluginError, match="32 particles, and 20 unknowns"):
        SMC(particles=32).check(linear_problem(d=20))
    with pytest.raises(NonFiniteError, match=r"datum \[0\] of y is not finite"):
        line(0.5).with_data(torch.full((1,), torch.nan, dtype=torch.float64))
