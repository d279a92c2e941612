"""The lens measures what it says: on laws that are known, on plugins it has never heard of."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from lens_problems import TIMES, central_moments, mixture, three_atoms, weights_of

from mempost.core.level import NoiseLevel
from mempost.core.measured import Measured
from mempost.core.result import Result
from mempost.core.reverse import ReverseSampler
from mempost.core.sampler import PosteriorSampler, Samples
from mempost.core.streams import Streams
from mempost.methods.posteriors.diffused import Diffused
from mempost.methods.statistics.particle_law import particle_laws
from mempost.plugins.metrics.finite_sample_lens import FiniteSampleLens
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights
from mempost.plugins.samplers.quadrature import Quadrature

N = 4000


class Traced(ReverseSampler):
    """A sampler of somebody else: unconditional, with a trace."""

    @property
    def guide(self):
        return None


class Elsewhere(PosteriorSampler):
    """A sampler of somebody else that keeps no trace."""

    def sample(self, problem, n, streams, progress=None):
        return Samples.independent(problem.prior.sample(n, streams))


def results(problem, sampler, samples, exact=None) -> Result:
    siblings: dict[str, Result] = {}
    for key, plugin, drawn in (
        ("exact", exact or FiniteSampleWeights(), None),
        ("it", sampler, samples),
    ):
        siblings[key] = Result(
            key, {}, plugin, problem, None, None, 0, lambda drawn=drawn: drawn, siblings
        )
    return siblings["it"]


def particles(problem, sampler, shift=0.0, stretch=1.0) -> Samples:
    """Exact draws of x_t given y at the levels of the trace, then shifted and stretched."""
    posterior = FiniteSampleWeights().posterior(problem)
    streams = Streams(9, "sampling")
    x = posterior.sample(N, streams)
    levels = sampler.saved_levels()
    z = [level.perturb(x, streams.at(10**6, i)) for i, level in enumerate(levels)]
    z = torch.stack([z_i.mean() + stretch * (z_i - z_i.mean()) + shift for z_i in z], 1)
    return Samples(x[None], trajectory=sampler.path_of(z[None]))


def test_exact_particles_agree_and_shifted_ones_do_not():
    problem, sampler = three_atoms(-1.0), Traced(save=TIMES, steps=500)
    lens = FiniteSampleLens()
    good = lens.evaluate(results(problem, sampler, particles(problem, sampler))).columns
    moved = lens.evaluate(results(problem, sampler, particles(problem, sampler, 0.25, 1.3))).columns
    q = weights_of(problem, problem.prior.means)
    for t, level in zip(TIMES, sampler.saved_levels()):
        _, variance, fourth = central_moments(problem.prior.means, q, level)
        exact = math.sqrt(variance)
        error = math.sqrt((fourth / variance**2 - 1) / N) / 2 * exact
        assert good[f"spread_exact_{t:g}"] == pytest.approx(exact, rel=1e-12)
        assert abs(good[f"spread_{t:g}"] - exact) < 4.5 * error
        assert good[f"bias_{t:g}"] < 4.5 * exact / math.sqrt(N)
        for name in ("w1", "w1_null"):
            assert 0 < good[f"{name}_{t:g}"] < 4.5 * exact / math.sqrt(N)
        assert abs(moved[f"spread_{t:g}"] - 1.3 * exact) < 4.5 * 1.3 * error
        assert abs(moved[f"bias_{t:g}"] - 0.25) < 4.5 * exact / math.sqrt(N)
        assert moved[f"w1_{t:g}"] > 0.2


def test_w1_of_a_shift_is_the_shift():
    problem, sampler = three_atoms(-1.8), Traced(save=(0.3,), steps=100)
    law = particle_laws(results(problem, sampler, particles(problem, sampler, shift=0.5)), "exact")[
        0
    ]
    found, null = law.distances(Streams(0, "metric"), 100, 1)
    assert found == pytest.approx(0.5, abs=4.5 * law.exact_spread / math.sqrt(N))
    assert 0 < null < 4.5 * law.exact_spread / math.sqrt(N)


def test_the_diffused_law_of_atoms_and_of_a_mixture():
    level, grid = NoiseLevel(0.7, 0.5), torch.linspace(-4, 4, 33, dtype=torch.float64)
    problem = three_atoms(-1.0)
    q, c = weights_of(problem, problem.prior.means), 0.7 * problem.prior.means[:, 0]
    law = Diffused(FiniteSampleWeights().posterior(problem), level)
    expected = torch.special.ndtr((grid[:, None] - c) / 0.5) @ q
    torch.testing.assert_close(law.cdf(grid), expected)
    mean, variance, _ = central_moments(problem.prior.means, q, level)
    assert float(law.mean()) == pytest.approx(mean)
    assert float(law.std()) == pytest.approx(math.sqrt(variance))

    smooth = mixture()
    exact = ExactLGM().posterior(smooth)
    mu = exact.component_means[:, 0]
    v = exact.component_covariances(torch.arange(2))[:, 0, 0]
    scaled = (grid[:, None] - 0.7 * mu) / (0.49 * v + 0.25).sqrt()
    by_quadrature = Diffused(Quadrature().posterior(smooth), level)
    torch.testing.assert_close(
        by_quadrature.cdf(grid), torch.special.ndtr(scaled) @ exact.weights, rtol=0, atol=1e-6
    )


def test_masses_hallucinations_and_draws_off_the_atoms():
    problem = three_atoms(-1.0)  # exact masses .9884 .0116 0
    x = torch.tensor([-1.8] * 6 + [0.2] * 2 + [2.2, 1.2], dtype=torch.float64)[:, None]
    columns = (
        FiniteSampleLens().evaluate(results(problem, Elsewhere(), Samples.independent(x))).columns
    )
    assert [columns[f"mass_{i}"] for i in range(2)] == pytest.approx([0.6, 0.2], abs=0.11)
    assert columns["mass_0"] == pytest.approx(0.6)
    assert columns["hallucinated_mass"] == pytest.approx(columns["mass_2"])
    assert columns["off_atom_mass"] == pytest.approx(0.1)  # 1.2 lies between two atoms
    assert columns["mass_exact_0"] == pytest.approx(0.9884, abs=1e-4)
    assert not any(name.startswith(("spread", "w1")) for name in columns)


def test_any_reverse_sampler_gets_the_lens_through_its_trace():
    problem = three_atoms(-1.0)
    sampler = Traced(save=(0.5, 0.1), steps=40, solver="euler_maruyama")
    samples = sampler.sample(problem, 64, Streams(1, "sampling"))
    columns = FiniteSampleLens(times=(0.1,)).evaluate(results(problem, sampler, samples)).columns
    assert "spread_0.1" in columns and "spread_0.5" not in columns
    assert columns["hallucinated_mass"] > 0.1  # the prior, a third of which is on the third atom


def test_the_verdict_follows_the_numbers():
    lens = FiniteSampleLens()

    def said(spread, wrong=0.0, bias=0.0):
        along = {"spread": [spread], "spread_exact": [0.77], "bias": [bias], "w1": [0.1]}
        masses = {"mass": [1 - wrong, wrong], "mass_exact": [1.0, 0.0]}
        measured = Measured(
            {name: ("level", values) for name, values in along.items()}
            | {name: ("component", values) for name, values in masses.items()}
            | {"hallucinated_mass": wrong},
            {"level": [0.3]},
        )
        result = results(three_atoms(), Traced(), None)
        return lens.verdict([replace(result, load_measured=lambda: measured)])[0]

    assert "keeps the spread" in said(0.775)
    assert "under-spreads (spread 0.57 where 0.77 is exact, at t = 0.3)" in said(0.57)
    assert "over-spreads" in said(1.05) and "9.7% of its mass on wrong modes" in said(1.05, 0.097)
    assert "is mild" in said(0.80) and "mild" not in said(0.80, bias=0.5)
    assert "mean is off by 0.50" in said(0.80, bias=0.5)
    assert lens.verdict([results(three_atoms(), Elsewhere(), None)]) == []
