"""Simulation-based calibration of exact posteriors and of wrong ones, atoms included."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from toy_posteriors import PRIORS, distorted, drawn, result_of, simulated

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.methods.statistics.quantities import Quantities
from mempost.plugins.metrics.sbc import SimulationBasedCalibration
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.piecewise_linear import PiecewiseLinear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.exact_lgm import ExactLGM

SBC = SimulationBasedCalibration()
TRUTHS, DRAWS = 1000, 63
every_prior = pytest.mark.parametrize("kind", list(PRIORS))


@every_prior
def test_exact_draws_pass(kind: str) -> None:
    columns = SBC.evaluate(result_of(*drawn(kind, TRUTHS, DRAWS))).columns
    assert columns["sbc_p"] > 1e-4 and columns["sbc_folded_p"] > 1e-4
    assert abs(columns["sbc_shift"]) < 4 / TRUTHS**0.5
    assert abs(columns["sbc_width"] - 1) < 4 / (2 * TRUTHS) ** 0.5
    assert columns["sbc_truths"] == TRUTHS


@pytest.mark.parametrize("draws", [1, 2, 9])
def test_few_draws_are_enough(draws: int) -> None:
    """Ranks are uniform for any number of draws, atoms or not; and none of 120 p-values is tiny."""
    for kind in PRIORS:
        p = [
            SBC.evaluate(result_of(*drawn(kind, 50, draws, s), s)).columns["sbc_p"]
            for s in range(40)
        ]
        assert min(p) > 1e-3 / 40


def test_plain_ranks_of_atoms_are_not_uniform() -> None:
    """What randomisation is for: counting draws below the truth alone rejects exact draws."""
    truths, values = drawn("atoms", TRUTHS, DRAWS)
    u = ((values < truths[:, None]).sum(1)[:, 0] + 0.5) / (DRAWS + 1)
    assert scipy.stats.kstest(u.numpy(), "uniform").pvalue < 1e-10


@pytest.mark.parametrize(
    ("scale", "shift", "column", "word"),
    [
        (0.8, 0.0, "sbc_folded_p", "too narrow"),
        (1.2, 0.0, "sbc_folded_p", "too wide"),
        (1.0, 0.5, "sbc_p", "below"),
        (1.0, -0.5, "sbc_p", "above"),
    ],
)
@every_prior
def test_distorted_draws_are_seen_and_named(
    kind: str, scale: float, shift: float, column: str, word: str
) -> None:
    truths, values = drawn(kind, TRUTHS, DRAWS)
    result = result_of(truths, distorted(values, scale, shift))
    result.measured.update(SBC.evaluate(result))
    assert float(result.measured[column]) < 1e-4
    (sentence,) = SBC.verdict([result])
    assert word in sentence
    if kind == "gaussian":
        assert float(result.measured["sbc_shift"]) == pytest.approx(-shift, abs=0.15)
        if shift == 0:
            assert float(result.measured["sbc_width"]) == pytest.approx(scale, abs=0.1)


def test_verdict_of_exact_draws() -> None:
    result = result_of(*drawn("mixture", TRUTHS, DRAWS))
    result.measured.update(SBC.evaluate(result))
    assert "is calibrated as far as this test sees" in SBC.verdict([result])[0]


def test_nothing_outside_of_calibration() -> None:
    result = result_of(None, drawn("mixture", 2, 8)[1])
    assert SBC.evaluate(result).columns == {} and SBC.verdict([result]) == []


def _posterior_draws(
    problem: InverseProblem, sampler: ExactLGM, truths: torch.Tensor, draws: int
) -> torch.Tensor:
    values = []
    for i, x in enumerate(truths):
        y = problem.noise.perturb(problem.forward(x[None])[0], Streams(0, "noise").at(i))
        streams = Streams(i, "sampling")
        values.append(sampler.sample(problem.with_data(y), draws, streams).flat)
    return torch.stack(values)


@pytest.mark.parametrize("log_determinant", [True, False])
def test_the_log_determinant_is_missed(log_determinant: bool) -> None:
    """Components on slopes 1 and 5; each on one piece, so that the linearisation is exact."""
    prior = EmpiricalGMM(bandwidth=0.3).fit(torch.tensor([[-2.0], [2.0]]).double())
    operator = PiecewiseLinear(knots=[0.0], slopes=[1.0, 5.0], intercepts=[2.0, -10.0])
    problem = InverseProblem(prior, operator, GaussianNoise(0.3), torch.zeros(1).double())
    truths = prior.sample(500, Streams(0, "truth"))
    sampler = ExactLGM(log_determinant=log_determinant)
    result = result_of(truths, _posterior_draws(problem, sampler, truths, 32))
    columns = SBC.evaluate(result).columns
    if log_determinant:
        assert min(columns["sbc_p"], columns["sbc_folded_p"]) > 1e-4
    else:
        assert columns["sbc_p"] < 1e-4


class RowByRow(InverseProblem):
    """Every row of a batch of states has data of its own."""

    def __init__(self, prior, operator, noise, rows: torch.Tensor) -> None:
        super().__init__(prior, operator, noise, rows[0])
        self.rows = rows

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        return self.rows - self.forward(x)


def test_unit_gradient_is_no_posterior() -> None:
    """The rule of published FWI experiments, 200 steps of 0.07; the prior is normal."""
    prior = EmpiricalGMM(bandwidth=1.0).fit(torch.zeros(1, 2).double())
    operator, noise = Linear(matrix=torch.tensor([[1.0, 0.5]]).double()), GaussianNoise(0.6)
    truths = prior.sample(TRUTHS, Streams(0, "truth"))
    y = noise.perturb(operator(truths), Streams(0, "noise").at())
    problem = RowByRow(prior, operator, noise, y.repeat_interleave(32, dim=0))
    sampler = DPS(
        rule="unit_gradient",
        schedule={"type": "vp_discrete"},
        steps=200,
        t_min=0.005,
        start="standard_normal",
        tile=32 * TRUTHS,
    )
    values = sampler.sample(problem, 32 * TRUTHS, Streams(0, "sampling")).flat
    columns = SBC.evaluate(result_of(truths, values.reshape(TRUTHS, 32, 2))).columns
    assert columns["sbc_p"] < 1e-4 or columns["sbc_folded_p"] < 1e-4


def test_quantities() -> None:
    truths, values = drawn("mixture", 40, 9)
    result = result_of(truths, values)
    assert Quantities().of(result).names == ("x_1", "x_2", "direction 1", "direction 2", "|x|")
    few = Quantities(coordinates=(1,), norm=False, directions=0).of(result)
    assert few.names == ("x_2",) and few.u.shape == (1, 40)
    line = result_of(truths[:, :1], values[..., :1])
    assert Quantities().of(line).names == ("x_1", "|x|")
    with pytest.raises(PluginError, match="coordinates: 5; the problem has coordinates 0 to 1"):
        Quantities(coordinates=(5,)).of(result)


@every_prior
def test_draws_from_the_prior_pass_until_the_data_are_asked(kind: str) -> None:
    truths, y = simulated(kind, TRUTHS, Streams(0, "truth").at())
    from_prior = simulated(kind, TRUTHS * DRAWS, Streams(1, "truth").at())[0]
    exact = drawn(kind, TRUTHS, DRAWS)[1]
    informed = SimulationBasedCalibration(quantities=Quantities(log_likelihood=True))
    blind = result_of(truths, from_prior.reshape(TRUTHS, DRAWS, 2), data=y)
    columns = SBC.evaluate(blind).columns
    assert min(columns["sbc_p"], columns["sbc_folded_p"]) > 1e-4
    columns = informed.evaluate(blind).columns
    assert columns["sbc_p"] < 1e-4
    columns = informed.evaluate(result_of(truths, exact, data=y)).columns
    assert min(columns["sbc_p"], columns["sbc_folded_p"]) > 1e-4
    with pytest.raises(PluginError, match="this run holds no data"):
        informed.evaluate(result_of(truths, exact))


def test_one_draw_a_chain() -> None:
    """Of chains that repeat every state, the last state of each is as good as a draw."""
    truths, values = drawn("gaussian", 300, 20)
    chains = values.repeat_interleave(5, dim=1)
    thinned = SimulationBasedCalibration(every=5).evaluate(result_of(truths, chains)).columns
    assert thinned == SBC.evaluate(result_of(truths, values)).columns
