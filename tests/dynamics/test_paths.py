"""Paths of the exact flow: compactness, cells, limits, rates, against an independent integrator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flows import TALK, run, talk_points
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.stats import chi2

from mempost.core.dataset import Data
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.result import DataAndPrior, Result
from mempost.core.sampler import Samples
from mempost.core.streams import Streams
from mempost.methods.geometry.entry_time import entry_time, inside, pairs
from mempost.methods.geometry.paths import Paths
from mempost.plugins.metrics.cell_crossings import CellCrossings
from mempost.plugins.metrics.convergence import Convergence
from mempost.plugins.metrics.limit_point import LimitPoint
from mempost.plugins.metrics.path_weights import PathWeights
from mempost.plugins.metrics.score_growth import ScoreGrowth
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.tikhonov import Tikhonov
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.schedules.vp import VariancePreserving
from mempost.plugins.solvers.dormand_prince import DormandPrince

POINTS = talk_points()
ATOMS = EmpiricalGMM(bandwidth=0.0).fit(POINTS)
FINE = {"type": "dormand_prince", "tolerance": 1e-8}


def result_of(prior, samples, data=None):
    return Result("flow", {}, None, InverseProblem(prior), data, None, 1, lambda: samples)


@pytest.fixture(scope="module")
def exploding():
    return result_of(ATOMS, run(ATOMS, 200, solver=FINE, save={"dense": 200}))


@pytest.fixture(scope="module")
def preserving():
    """Beta from 0.001 to 3, as in the talk's code, from N(0, sigma(1)^2 I)."""
    sampler = ReverseDiffusion(
        schedule=VariancePreserving(beta_min=0.001, beta_max=3.0),
        sigma_min=1e-5,
        start="noise",
        final="stop",
        solver=FINE,
        save={"dense": 200},
        tile=224,
    )
    return result_of(ATOMS, sampler.sample(InverseProblem(ATOMS), 200, Streams(3, "sampling")))


def scipy_path(u, s, preserved):
    """u at the times s = -log sigma, from the equation in VE, or in z of VP (paper's form)."""
    x = POINTS.numpy()

    def weights(d2):
        w = np.exp(-(d2 - d2.min()))
        return w / w.sum()

    def exploding(t, y):
        return weights(((y - x) ** 2).sum(1) * math.exp(2 * t) / 2) @ x - y

    def preserving(t, y):  # t = -log std, a = sqrt(1 - std^2)
        a = math.sqrt(1 - math.exp(-2 * t))
        return weights(((y - a * x) ** 2).sum(1) * math.exp(2 * t) / 2) @ x / a - y

    if not preserved:
        found = solve_ivp(exploding, s[[0, -1]], u, "DOP853", t_eval=s, rtol=1e-13, atol=1e-15)
        return found.y.T
    std = np.exp(-s) / np.sqrt(1 + np.exp(-2 * s))
    a = np.sqrt(1 - std**2)
    found = solve_ivp(
        preserving,
        (-math.log(std[0]), -math.log(std[-1])),
        a[0] * u,
        "DOP853",
        t_eval=-np.log(std),
        rtol=1e-13,
        atol=1e-15,
    )
    return found.y.T / a[:, None]


def agrees(result, rows, preserved):
    paths = Paths.of(result)
    k = int((paths.s - 8).abs().argmin())
    for i in rows:
        end = torch.from_numpy(
            scipy_path(paths.u[i, 0].numpy(), paths.s[[0, k]].numpy(), preserved)[-1]
        )
        distance, label = torch.cdist(end[None], POINTS)[0].min(0)
        mine = (paths.u[i, k] - POINTS[label]).norm()
        assert int(label) == int(paths.nearest[i, -1])
        assert float(mine / distance) == pytest.approx(1, abs=1e-6)


def test_limits_and_constants_agree_with_scipy(exploding, preserving):
    agrees(exploding, range(0, 200, 20), False)
    agrees(preserving, range(0, 200, 20), True)


@pytest.mark.slow
def test_all_limits_and_constants_agree_with_scipy(exploding, preserving):
    agrees(exploding, range(200), False)
    agrees(preserving, range(200), True)


def test_all_paths_end_on_examples_at_rate_one(exploding, preserving):
    for result, until in ((exploding, 12.0), (preserving, 11.0)):
        ends = LimitPoint(tolerance=1e-4).evaluate(result)
        assert ends.columns["on_point"] == 1 and ends.columns["on_point_law"] == 1
        rate = Convergence(until=until).evaluate(result)
        assert rate.columns["convergence_paths"] == 200
        assert np.abs(rate["path_slope"].values + 1).max() < 1e-6
    constants = Convergence().evaluate(exploding).columns  # Rayleigh quantiles, 200 paths
    for q, error in ((0.05, 0.06), (0.5, 0.1), (0.95, 0.25)):
        law = math.sqrt(chi2.ppf(q, 2))
        assert constants[f"convergence_constant_{q:g}"] == pytest.approx(law, abs=3 * error)


def test_crossings_come_early(exploding):
    found = CellCrossings().evaluate(exploding).columns
    assert found["crossed_low"] < 0.69 < found["crossed_high"]  # 69 % of 200 in science
    assert 1 <= found["crossings_max"] <= 6 and found["last_crossing_1"] < 3
    assert found["entry_time"] == pytest.approx(4.33, abs=0.005)
    assert found["left_after_entry"] == 0


@pytest.mark.parametrize(("f", "time"), [(0.1, 5.09), (0.5, 4.33), (0.9, 4.12)])
def test_cells_hold_their_paths(exploding, f, time):
    paths, smallest = Paths.of(exploding), float(pairs(POINTS).min())
    delta = f * smallest
    start = entry_time(POINTS, delta)
    assert start == pytest.approx(time, abs=0.005)
    assert not paths.leaves(delta, start).any()
    limit = paths.nearest[:, -1]
    k = int((paths.s - 8).abs().argmin())
    constant = paths.distances(limit)[:, k] / paths.sigma[k]
    entered = (2 * constant / ((1 - f) * math.sqrt(smallest))).log()
    for j, s in enumerate(paths.s):
        late = s >= entered
        assert torch.equal(inside(paths.u[late, j], POINTS, delta), limit[late])


def test_leaving_is_seen(exploding):
    paths = Paths.of(exploding)
    assert paths.leaves(0.5 * float(pairs(POINTS).min()), -1.0).any()
    with pytest.raises(ValueError, match="allowed are values between 0 and the smallest"):
        entry_time(POINTS, 1.0)


@settings(max_examples=8, deadline=None)
@given(
    n=st.integers(1, 50),
    d=st.integers(1, 5),
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
)
def test_paths_stay_in_a_ball_and_in_their_cells(n, d, seed, scale):
    """|u(s)| <= max(|u(0)|, max |x_n|); in VP too, since u is z/a (2.2 of the paper)."""
    x = scale * Streams(seed, "data").at().normal((n, d))
    prior = EmpiricalGMM(bandwidth=0.0).fit(x)
    solver = {"type": "dormand_prince", "tolerance": 1e-4}
    paths = Paths.of(
        result_of(prior, run(prior, 32, sigma_min=1e-4, solver=solver, save={"dense": 60}))
    )
    radius = torch.maximum(paths.u[:, 0].norm(dim=-1), x.norm(dim=-1).max())
    assert bool((paths.u.norm(dim=-1) <= radius[:, None] * (1 + 1e-3)).all())
    if n > 1:
        delta = 0.5 * float(pairs(x).min())
        assert not paths.leaves(delta, entry_time(x, delta)).any()


@pytest.mark.parametrize(
    ("points", "on_data", "faces"),
    [
        ([[-1.0, 0.0], [1.0, 0.0]], 78, {"0+1": 2}),
        (
            [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]],
            76,
            {"0+1": 1, "0+3": 1, "1+2": 1, "2+3": 1},
        ),
    ],
)
def test_symmetric_starts_end_on_faces(points, on_data, faces):
    prior = EmpiricalGMM(bandwidth=0.0).fit(torch.tensor(points).double())
    start = {"type": "square", "half_side": 2.1, "per_side": 21}
    samples = run(prior, 80, start, sigma_max=1.0, sigma_min=1e-8)
    found = LimitPoint().evaluate(result_of(prior, samples))
    assert round(80 * found.columns["on_point"]) == on_data
    counts = found["ends_on"]
    assert dict(zip(counts["face"].values.tolist(), counts.values.tolist())) == faces
    assert found.columns["elsewhere"] == 0


@pytest.mark.slow
def test_a_face_is_left_when_the_law_says():
    """eps exp((e^2s - 1)/2 - s) from s = 0, until the weights decide; half-way at s = 2.66."""
    prior = EmpiricalGMM(bandwidth=0.0).fit(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double())
    start = {"type": "points", "values": [[1e-12, 2.1]]}
    solver = {"type": "dormand_prince", "tolerance": 1e-12}
    samples = run(
        prior, 1, start, sigma_max=1.0, sigma_min=0.05, solver=solver, save={"dense": 500}
    )
    paths = Paths.of(result_of(prior, samples))
    x, s = paths.u[0, :, 0], paths.s
    law = 1e-12 * ((torch.exp(2 * s) - 1) / 2 - s).exp()
    early = law * torch.exp(2 * s) < 1e-3  # tanh is linear
    assert (
        float((x[early] / law[early]).log().abs().max()) < 0.01 and float(law[early].max()) > 1e-6
    )
    found = solve_ivp(
        lambda t, y: np.tanh(np.exp(y + 2 * t)) * np.exp(-y) - 1,
        (0, 2.9),
        [math.log(1e-12)],
        "DOP853",
        t_eval=s[s < 2.9].numpy(),
        rtol=1e-12,
        atol=1e-12,
    )
    np.testing.assert_allclose(x[s < 2.9], np.exp(found.y[0]), rtol=0.01)
    half = float(s[torch.nonzero(x > 0.5)[0, 0]])
    assert half == pytest.approx(2.66, abs=0.01)


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("heun", 2)])
def test_observed_orders_before_the_last_crossing(solver, order):
    levels = {"sigma_max": TALK, "sigma_min": 1.0}  # s from -1.5 to 0
    exact = run(ATOMS, 32, solver={"type": "dormand_prince", "tolerance": 1e-12}, **levels).flat
    errors = [
        float((run(ATOMS, 32, solver=solver, steps=n, **levels).flat - exact).norm())
        for n in (80, 160)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_the_adaptive_solver_is_of_order_five_before_the_last_crossing():
    """The error falls with the work like (calls)^-5."""
    level, to = NoiseLevel(1.0, TALK), [NoiseLevel(1.0, 1.0)]
    z = TALK * Streams(0, "noise").at().normal((32, 2))
    exact = DormandPrince(tolerance=1e-14, max_steps=50_000).integrate(ATOMS.denoise, z, level, to)[
        0
    ]
    found = []
    for tolerance in (1e-9, 1e-11):
        calls = [0]

        def denoise(u, at, calls=calls):
            calls[0] += len(u)
            return ATOMS.denoise(u, at)

        end = DormandPrince(tolerance=tolerance).integrate(denoise, z, level, to)[0]
        found.append((calls[0], float((end - exact).norm())))
    (few, coarse), (many, fine) = found
    assert math.log(coarse / fine) / math.log(many / few) == pytest.approx(5, abs=0.4)


def test_examples_get_their_multiplicities():
    """From the noised training set every example is the end of as many paths as it has copies."""
    copies = [1, 2, 4, 8]
    x = POINTS[:4].repeat_interleave(torch.tensor(copies), 0)
    prior = EmpiricalGMM(bandwidth=0.0).fit(x)
    n = 1500
    solver = {"type": "dormand_prince", "tolerance": 1e-3}
    samples = run(prior, n, "examples", sigma_min=1e-3, solver=solver)
    found = LimitPoint().evaluate(result_of(prior, samples))
    assert found["limit_weight"].values.tolist() == pytest.approx([k / 15 for k in copies])
    expected = n * found["limit_weight"].values
    statistic = ((found["limit_count"].values - expected) ** 2 / expected).sum()
    assert found.columns["on_point"] > 0.999 and statistic < chi2.ppf(0.999, 3)


def test_limit_points_of_known_ends():
    prior = EmpiricalGMM(bandwidth=0.0).fit(torch.tensor([[0.0, 0.0], [2.0, 0.0]]).double())
    ends = torch.tensor([[0.0, 0.005], [2.0, 0.0], [1.0, 3.0], [0.5, 0.0]]).double()
    held_out = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).double()
    data = Data(prior.examples.x, held_out)
    result = result_of(prior, Samples.independent(ends), data)
    measured = LimitPoint().evaluate(result)
    found = measured.columns
    assert (found["on_point"], found["on_face"], found["elsewhere"]) == (0.5, 0.25, 0.25)
    assert found["on_point_held_out"] == 0.5 and found["ends_on_0+1"] == 1
    assert found["on_point_low"] == pytest.approx(0.0676, abs=1e-4)  # Clopper & Pearson, 2 of 4
    result.measured = dict(measured)
    assert LimitPoint().verdict([result]) == [
        "flow: a share 0.5 (0.0676 to 0.932) ends within 0.01 of a training example (law 1), "
        "0.25 on faces between them."
    ]


def test_weights_decide_for_the_limit(exploding):
    found = PathWeights(paths=3).evaluate(exploding)
    w = found["path_weight"]
    np.testing.assert_allclose(w.sum("point"), 1, rtol=1e-12)
    limit = Convergence().evaluate(exploding)["path_limit"].values[:3]
    assert w.isel(sigma=-1).values.argmax(1).tolist() == limit.tolist()
    u, sigma = Paths.of(exploding).u[1, 40], float(w["sigma"][40])
    plain = torch.softmax(-(u - POINTS).square().sum(1) / (2 * sigma**2), 0)
    np.testing.assert_allclose(w.values[1, 40], plain, rtol=1e-10)
    assert -1 < found.columns["decided_0.5"] < 4


def test_the_exact_score_grows_and_a_regularised_one_does_not():
    data, c = Data(POINTS, POINTS[:0]), 1e-2
    metric = ScoreGrowth(schedule={"type": "ve", "sigma_min": 1e-4, "sigma_max": 5.0}, levels=60)
    exact = metric.evaluate(DataAndPrior(data, ATOMS, 1))
    assert exact.columns["score_growth"] == pytest.approx(-2, abs=1e-6)
    assert exact["score_norm"].equals(exact["exact_score_norm"])
    prior = Tikhonov(base={"type": "empirical_gmm", "bandwidth": 0.0}, c=c).fit(POINTS)
    bounded = metric.evaluate(DataAndPrior(data, prior, 1))
    places = POINTS[0] + 0.2 * Streams(1, "metric").at().normal((4, 2))
    bound = torch.cdist(places, POINTS).amax(1) / c
    assert bool((torch.from_numpy(bounded["score_norm"].values).amax(1) < bound).all())
    assert abs(bounded.columns["score_growth"]) < 1e-3
    sigma = float(bounded["score_norm"]["sigma"][30])
    m = ATOMS.denoise(places, NoiseLevel(1.0, sigma))
    expected = (m - places).norm(dim=1) / (sigma**2 + c)
    np.testing.assert_allclose(bounded["score_norm"].values[:, 30], expected, rtol=1e-9)
