"""What every iterative sampler owes: explicit states, rows on their own, errors with an address."""

from __future__ import annotations

import pytest
import torch
from pydantic import Field, ValidationError
from sampler_problems import RowStream, gaussian_problem

from mempost.core.counters import counting
from mempost.core.errors import NonFiniteError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.iterative import IterativeSampler
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.samplers.annealed_langevin import AnnealedLangevin
from mempost.plugins.samplers.dps import DPS
from mempost.plugins.samplers.gauss_newton_dps import GaussNewtonDPS
from mempost.plugins.samplers.mala import MALA
from mempost.plugins.samplers.pcn import PCN
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.samplers.ula import ULA
from mempost.plugins.solvers.ddim import DDIM

CHAIN = {"warmup": 6, "draws": 3, "thin": 2}
SAMPLERS = [
    ReverseDiffusion(steps=6),
    ReverseDiffusion(steps=6, solver=DDIM(eta=0.5)),
    ReverseDiffusion(steps=6, solver="euler_maruyama", start="noise"),
    ReverseDiffusion(steps=6, solver="heun", final="stop", save=(0.5, 0.2)),
    DPS(steps=6, solver="euler_maruyama"),
    DPS(steps=6, rule="residual_norm"),
    DPS(steps=6, rule="unit_gradient", start="standard_normal"),
    DPS(steps=6, rule={"type": "unit_gradient", "jacobian": "exact", "second_call": "new_level"}),
    DPS(steps=6, rule={"type": "unit_gradient", "length": "proportional"}),
    GaussNewtonDPS(steps=6, tolerance=1e-10),
    GaussNewtonDPS(steps=6, tolerance=1e-10, covariance="isotropic", linearisation="jacobian"),
    ULA(**CHAIN),
    ULA(**CHAIN, smoothing=0.1, preconditioner="prior"),
    MALA(**CHAIN),
    MALA(**CHAIN, preconditioner="gauss_newton"),
    PCN(**CHAIN),
    AnnealedLangevin(levels=3, steps_per_level=2),
]


def name(sampler: IterativeSampler) -> str:
    return f"{type(sampler).__name__}-{sampler.model_dump_json(exclude_defaults=True)[:70]}"


each = pytest.mark.parametrize("sampler", SAMPLERS, ids=name)


@each
def test_resumed_run_gives_the_same_bits(sampler):
    problem, streams = gaussian_problem(), Streams(4, "sampling")
    straight = dict(sampler.trajectory(problem, 2, streams))
    middle = sampler.n_steps // 2
    saved = {key: tensor.clone() for key, tensor in straight[middle].items()}
    resumed = dict(sampler.trajectory(problem, 2, streams, start=(middle, saved)))
    assert sorted(resumed) == list(range(middle + 1, sampler.n_steps + 1))
    for key, tensor in straight[sampler.n_steps].items():
        assert torch.equal(tensor, resumed[sampler.n_steps][key])


@each
def test_steps_by_hand_are_the_run(sampler):
    problem, streams = gaussian_problem(), Streams(4, "sampling")
    state = sampler.init(problem, streams.at(1, 0))
    kept = []
    for k in range(1, sampler.n_steps + 1):
        before = {key: tensor.clone() for key, tensor in state.items()}
        after = sampler.step(problem, state, k, streams.at(1, k))
        assert all(torch.equal(state[key], tensor) for key, tensor in before.items())
        assert all(len(tensor) == 32 for tensor in after.values())
        state = after
        if sampler.is_draw(k):
            kept.append(sampler.draw(problem, state)[0])
    tile = sampler.sample_tile(problem, 1, streams)
    assert torch.equal(torch.stack(kept, 1), tile.values)
    assert torch.equal(sampler.sample(problem, 40, streams).flat[-1], tile.values[7, -1])


@each
def test_batch_equals_rows_one_by_one(sampler):
    problem, streams = gaussian_problem(), Streams(5, "sampling")
    wide = sampler.init(problem, streams.at(0, 0))
    alone = [{key: tensor[i : i + 1] for key, tensor in wide.items()} for i in (0, 13, 31)]
    for k in range(1, sampler.n_steps + 1):
        wide = sampler.step(problem, wide, k, streams.at(0, k))
        alone = [
            sampler.step(problem, state, k, RowStream(streams.at(0, k), i, 32))
            for state, i in zip(alone, (0, 13, 31))
        ]
    for state, i in zip(alone, (0, 13, 31)):
        for key, tensor in wide.items():
            assert torch.allclose(state[key][0], tensor[i], rtol=1e-11, atol=1e-12), key


@each
def test_tiles_do_not_know_each_other(sampler):
    problem, streams = gaussian_problem(), Streams(6, "sampling")
    together = sampler.sample(problem, 70, streams)
    third = sampler.sample_tile(problem, 2, streams)
    last = together.flat[-1] if together.values.shape[0] == 1 else together.values[-1, -1]
    assert torch.equal(last, third.values[5, -1])
    assert not torch.equal(third.values, sampler.sample_tile(problem, 1, streams).values)
    assert torch.isfinite(together.flat).all()


@each
def test_precision_is_kept(sampler):
    problem = gaussian_problem(dtype=torch.float32)
    samples = sampler.sample(problem, 3, Streams(7, "sampling"))
    assert samples.values.dtype == torch.float32
    assert all(stat.dtype == torch.float32 for stat in samples.stats.values())
    assert all(stat.shape[:2] == samples.values.shape[:2] for stat in samples.stats.values())


@each
def test_recipe_survives_the_round_trip(sampler):
    again = type(sampler).model_validate(sampler.model_dump(mode="json"))
    assert again == sampler
    assert hash(again) == hash(sampler)


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [
        (ReverseDiffusion(steps=7, start="noise"), 7),
        (
            ReverseDiffusion(steps=7, start="noise", solver=DDIM(eta=1.0), final="stop"),
            7,
        ),
        (ReverseDiffusion(steps=7, start="noise", solver="heun"), 13),
        (ReverseDiffusion(steps=7, start="noise", solver="heun", final="stop"), 14),
        (DPS(steps=7), 7),
        (DPS(steps=7, rule="residual_norm", solver="euler_maruyama"), 7),
        (DPS(steps=7, rule="unit_gradient"), 14),
        (GaussNewtonDPS(steps=7), 7),
        (AnnealedLangevin(levels=2, steps_per_level=5), 10),
        (ULA(**CHAIN), 0),
        (MALA(**CHAIN), 0),
        (PCN(**CHAIN), 0),
    ],
    ids=lambda value: name(value) if isinstance(value, IterativeSampler) else None,
)
def test_denoiser_calls_are_as_declared(sampler, calls):
    with counting() as counts:
        sampler.sample_tile(gaussian_problem(), 0, Streams(0, "sampling"))
    assert counts["denoiser_calls"] == 32 * calls


class Explosive(IterativeSampler):
    """Doubles its state, and divides by zero in one row at one step."""

    row: int = Field(5, description="the row that breaks")

    @property
    def n_steps(self):
        return 9

    def init(self, problem, stream):
        return {"steps": torch.ones(32, dtype=torch.long), "x": torch.ones(32, 3).double()}

    def step(self, problem, state, k, stream):
        x = 2 * state["x"]
        if k == 4:
            x[self.row, 1] /= 0
        return {"steps": state["steps"] + 1, "x": x}


def test_non_finite_value_has_step_sample_quantity_and_state():
    with pytest.raises(NonFiniteError, match="x is not finite at step 4, sample 69") as caught:
        Explosive().sample_tile(gaussian_problem(), 2, Streams(0, "sampling"))
    error = caught.value
    assert (error.quantity, error.step, error.sample) == ("x", 4, 69)
    assert torch.equal(error.state["x"], torch.full((32, 3), 8.0).double())


def test_larger_tiles_are_stepped_together():
    problem, streams = gaussian_problem(), Streams(6, "sampling")
    for sampler in (
        ReverseDiffusion(steps=6, solver=DDIM(eta=0.5), tile=64),
        MALA(**CHAIN, tile=64),
    ):
        assert sampler.tiles(70) == 2
        whole = sampler.sample(problem, 70, streams)
        rows = whole.values if whole.values.shape[0] > 1 else whole.values.movedim(0, 1)
        second = sampler.sample_tile(problem, 1, streams)
        assert second.values.shape[0] == 64
        assert torch.equal(rows[64:], second.values[:6])
        assert len(rows.flatten(1).unique(dim=0)) == 70
    with pytest.raises(NonFiniteError, match="sample 133"):
        Explosive(tile=64).sample_tile(problem, 2, streams)
    with pytest.raises(ValidationError, match="multiple of 32"):
        ULA(tile=40)


def stiff_problem(dtype: torch.dtype = torch.float32) -> InverseProblem:
    prior = Gaussian(mean=[0.0, 0.0], covariance=1.0).fit().to(dtype=dtype)
    operator = Linear(matrix=[[30.0, 0.0], [0.0, 0.1]])
    return InverseProblem(prior, operator, GaussianNoise(0.1), torch.ones(2, dtype=dtype))


def test_diverging_guidance_is_named():
    with pytest.raises(NonFiniteError) as caught:
        DPS(steps=100).sample(stiff_problem(), 40, Streams(0, "sampling"))
    error = caught.value
    assert error.quantity in {"denoised mean", "likelihood score", "guided denoiser", "z"}
    assert 1 < error.step <= 100
    assert 0 <= error.sample < 32
    assert torch.isfinite(error.state["z"]).all()


def test_diverging_chain_is_named():
    sampler = ULA(step_size=1.0, warmup=50, draws=1, thin=1)
    with pytest.raises(NonFiniteError, match="step"):
        sampler.sample(stiff_problem(), 40, Streams(0, "sampling"))
