"""Wrong plugins, each of them caught by a public check that is named here; the right ones pass.

The mistakes are ones that published code has made, or that a reader of equations makes.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from pydantic import field_validator
from torch import nn

from mempost.core.arrays import FrozenArray
from mempost.core.dataset import Data, Dataset
from mempost.core.denoised import Denoised
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.iterative import IterativeSampler
from mempost.core.level import NoiseLevel
from mempost.core.network import CLOCK, Network, dimension
from mempost.core.noise import stack
from mempost.core.operator import ForwardOperator
from mempost.core.prior import Prior, State
from mempost.core.progress import silent
from mempost.core.reverse import GuidedSampler
from mempost.core.sampler import ExactSampler, Samples, TiledSampler
from mempost.core.schedule import NoiseSchedule, as_time
from mempost.core.start import Noise
from mempost.core.streams import TILE, draw_tiled, n_tiles
from mempost.plugins.schedules.ve import VarianceExploding
from mempost.testing import CheckFailedError, checks_for, examples
from mempost.testing.reference import (
    CubicOperator,
    DenseMixture,
    DensePosterior,
    MatrixOperator,
    solve,
)

# -- right plugins ------------------------------------------------------------------------------


class Mixture(Prior):
    """The three components of the example problems."""

    tags = frozenset({"closed_form", "log_density"})
    fitted_class = DenseMixture

    @property
    def needs_data(self):
        return False

    def _fit(self, x, shape, streams, progress):
        parts = examples.mixture_problem().prior
        return self.fitted_class(parts.weights, parts.means, parts.factors)


class PaddedSum(ForwardOperator):
    """Neighbouring sums of a signal that is continued beyond both ends: y_i = x_{i-1} + x_{i+1}."""

    tags = frozenset({"linear"})

    def forward(self, x):
        padded = torch.cat([x[:, :1], x, x[:, -1:]], 1)
        return padded[:, :-2] + padded[:, 2:]


class Exact(ExactSampler):
    """The dense formulas as a sampler."""

    tags = frozenset({"exact", "closed_form", "uses_noise_level"})

    def posterior(self, problem):
        posterior = solve(problem)
        parts = (posterior.weights, posterior.means, posterior.covariances)
        return DensePosterior(*(part.to(problem.prior.dtype) for part in parts))


class Shuffled(Exact):
    """Exact draws in random order, each place filled by another run's: an interacting sampler."""

    tags = frozenset({"exact", "uses_noise_level", "interacting"})

    def sample(self, problem, n, streams, progress=silent):
        draws = super().sample(problem, n, streams, progress)
        order = streams.at(step=1).permutation(n)
        return Samples(draws.values[:, order])


class ExactGuidance(GuidedSampler):
    """Reverse diffusion with the denoiser of the exact posterior."""

    tags = frozenset({"exact", "uses_noise_level"})
    schedule: VarianceExploding = VarianceExploding(sigma_max=10.0)
    steps: int = 60
    start: Noise = Noise()

    def denoiser(self, problem):
        return posterior_as_prior(problem).denoise


@lru_cache(maxsize=8)
def posterior_as_prior(problem):
    posterior = solve(problem)
    factors = posterior.covariances
    if not posterior.is_atomic:
        factors = torch.linalg.cholesky(factors)
    parts = (posterior.weights, posterior.means, factors)
    return DenseMixture(*(part.to(problem.prior.dtype) for part in parts))


class Langevin(IterativeSampler):
    """Unadjusted Langevin in small steps; all right but for its bias."""

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    size: float = 0.02
    length: int = 60

    @property
    def n_steps(self):
        return self.length

    def check(self, problem):
        problem.log_density(torch.zeros(1, problem.dimension, dtype=problem.prior.dtype))

    def init(self, problem, stream):
        return {"x": problem.prior.draw_tile(stream)}

    def step(self, problem, state, k, stream):
        x = state["x"]
        return {"x": x + self.size * self.slope(problem, x) + self.noise(x, stream)}

    def slope(self, problem, x):
        with torch.enable_grad():
            u = x.detach().requires_grad_()
            return torch.autograd.grad(problem.log_density(u).sum(), u)[0]

    def noise(self, x, stream):
        return math.sqrt(2 * self.size) * stream.normal(tuple(x.shape), x.dtype, x.device)


class Points(Dataset):
    """Nested training points, and held-out ones from another step of the stream."""

    tags = frozenset({"random"})
    n_train: int = 40

    def load(self, streams):
        def draw(stream):
            return stream.normal((TILE, 2))

        train = draw_tiled(self.n_train, streams, draw)
        return Data(train, draw_tiled(20, streams, draw, step=1))


class DPSLike(GuidedSampler):
    """Guidance by the gradient of the squared residual, one norm a sample."""

    tags = frozenset({"needs_gradient"})
    steps: int = 20

    def likelihood_score(self, problem, at):
        with torch.enable_grad():
            x = at.mean.detach().requires_grad_()
            r = stack(problem.residual(x))
            gradient = torch.autograd.grad(-(r**2).sum(), x)[0]
        return gradient / self.norm(r)

    def norm(self, r):
        return r.norm(dim=1, keepdim=True)


class Straight(NoiseSchedule):
    """a = 1 - c t, s = c t, all right; c a little below 1, since samplers divide by a."""

    c: float = 0.99

    def level(self, t):
        tau = self.c * as_time(t)
        return NoiseLevel(1 - tau, tau)

    def drift(self, t):
        return -self.c / (1 - self.c * as_time(t))

    def diffusion_squared(self, t):
        return -2 * as_time(t) * self.c * self.drift(t)


class Perceptron(Network):
    """One hidden layer; the noise level is one more input."""

    def build(self, shape):
        return self.module(dimension(shape))

    class module(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.first, self.last = nn.Linear(d + 1, 16), nn.Linear(16, d)

        def forward(self, x, clock):
            return self.last(torch.tanh(self.first(self.features(x, clock))))

        def features(self, x, clock):
            return torch.cat([x, clock[:, None] / CLOCK], -1)


RIGHT = [
    Mixture(),
    PaddedSum(),
    CubicOperator(),
    MatrixOperator(matrix=FrozenArray([[1.0 + 1j, 0.3, 2.0], [0.2, 3.0, -1j]])),
    Exact(),
    Shuffled(),
    ExactGuidance(),
    Langevin(),
    DPSLike(),
    Points(),
    Straight(),
    Perceptron(),
]


@pytest.mark.parametrize("plugin", RIGHT, ids=lambda p: type(p).__name__)
def test_the_right_plugins_pass_every_check(plugin):
    outcomes = [check.outcome() for check in checks_for(plugin)]
    assert [str(o) for o in outcomes if o.status not in ("passed", "skipped")] == []
    assert sum(o.status == "passed" for o in outcomes) >= 8


# -- wrong priors -------------------------------------------------------------------------------


class WrongSign(DenseMixture):
    def score(self, z, level):
        return -super().score(z, level)


class DroppedLogDeterminant(DenseMixture):
    """Weights without log |det|: score and density agree with each other, and both are wrong."""

    def _components(self, z, a, s):
        log_densities, solved = super()._components(z, a, s)
        eye = torch.eye(self.dimension, dtype=z.dtype)
        variance = a[..., None, None] ** 2 * self.covariances + s[..., None, None] ** 2 * eye
        return log_densities + 0.5 * torch.logdet(variance), solved


class LevelOffByOne(DenseMixture):
    """A table of noise levels that is entered one place too late."""

    def _denoise(self, z, a, s):
        table = torch.logspace(-5, 7, 600, dtype=z.dtype)
        return super()._denoise(z, a, table[torch.bucketize(s, table).clamp(max=598) + 1])


class BatchCentred(DenseMixture):
    def _denoise(self, z, a, s):
        mean = super()._denoise(z, a, s)
        return mean - 1e-3 * mean.mean(0)


class NoiseFloor(DenseMixture):
    def _denoise(self, z, a, s):
        return super()._denoise(z, a, s.clamp(min=0.2))


class JacobianForCovariance(Denoised):
    def covariance_product(self, v):
        return self.vjp(v)


class NoVariance(DenseMixture):
    def at(self, z, level):
        return JacobianForCovariance(self, z, level)


class TwoCalls(DenseMixture):
    def score(self, z, level):
        self.denoise(z, level)
        return super().score(z, level)


class UnnormalisedDensity(DenseMixture):
    def _log_density(self, z, a, s):
        return super()._log_density(z, a, s) + 0.5 * self.dimension * math.log(2 * math.pi)


class DrawsOffCentre(DenseMixture):
    def _draw(self, stream):
        return super()._draw(stream) + 0.2


class GlobalDraws(DenseMixture):
    def _draw(self, stream):
        return torch.randn(TILE, self.dimension, dtype=self.dtype)


class ForgetsWeights(DenseMixture):
    @classmethod
    def _from_state(cls, state):
        weights = torch.full_like(state.tensors["weights"], 1 / len(state.tensors["weights"]))
        return super()._from_state(State({**state.tensors, "weights": weights}, state.values))


class WrongFactors(DenseMixture):
    def factor_product(self, index, v, transpose=False):
        return self.covariances[index] @ v


def prior_with(fitted):
    class Mutant(Mixture):
        """A mixture with a wrong fitted class."""

        fitted_class = fitted

    Mutant.__name__ = fitted.__name__
    return Mutant()


class Kernels(Prior):
    """A Gaussian around every training point."""

    fitted_class = DenseMixture

    def _fit(self, x, shape, streams, progress):
        eye = 0.5 * torch.eye(x.shape[1], dtype=x.dtype)
        return DenseMixture(x.new_full((len(x),), 1 / len(x)), x, eye.expand(len(x), -1, -1))


class WritesIntoData(Kernels):
    """Centres its training data in place."""

    def fit(self, x=None, **options):
        x -= x.mean(0)
        return super().fit(x, **options)


class SecretlyRandom(Kernels):
    def _fit(self, x, shape, streams, progress):
        noise = 0.1 * streams.at().normal(tuple(x.shape), x.dtype)
        return super()._fit(x + noise, shape, streams, progress)


PRIORS = [
    (prior_with(WrongSign), "tweedie_identity"),
    (prior_with(WrongSign), "score_is_gradient"),
    (prior_with(DroppedLogDeterminant), "log_density_normalised"),
    (prior_with(DroppedLogDeterminant), "denoiser_is_posterior_mean"),
    (prior_with(LevelOffByOne), "score_is_gradient"),
    (prior_with(BatchCentred), "batch_invariance"),
    (prior_with(NoiseFloor), "denoiser_at_zero_noise"),
    (prior_with(NoVariance), "posterior_covariance"),
    (prior_with(TwoCalls), "denoiser_calls_counted"),
    (prior_with(UnnormalisedDensity), "log_density_normalised"),
    (prior_with(DrawsOffCentre), "denoiser_is_posterior_mean"),
    (prior_with(DrawsOffCentre), "denoiser_at_infinite_noise"),
    (prior_with(GlobalDraws), "global_random_state"),
    (prior_with(ForgetsWeights), "state_round_trip"),
    (prior_with(WrongFactors), "mixture_parts"),
    (WritesIntoData(), "arguments_kept"),
    (SecretlyRandom(), "fit_ignores_seed"),
]

# -- wrong operators ----------------------------------------------------------------------------


class DroppedPaddingAdjoint(PaddedSum):
    """The adjoint of the padding crops, where it should add the padded cells to the edge."""

    def vjp(self, x, v):
        value, pulled = super().vjp(x, v)
        pulled = pulled.clone()
        pulled[:, 0] -= v[:, 0]
        pulled[:, -1] -= v[:, -1]
        return value, pulled


class TransposedTwice(PaddedSum):
    """A Jacobian that ignores the basis it is given."""

    def jacobian(self, x, basis=None):
        value, full = super().jacobian(x)
        return value, full if basis is None else full[..., : basis.shape[-1]]


class FalselyLinear(CubicOperator):
    tags = frozenset({"linear"})


class FalselyComplex(CubicOperator):
    tags = frozenset({"complex"})


class AlwaysDouble(CubicOperator):
    def forward(self, x):
        return super().forward(x.double())


class NormalisedByBatch(CubicOperator):
    def forward(self, x):
        return x / x.abs().max()


class WrongJacobian(CubicOperator):
    """A product with the derivative where the cubic term was forgotten, in all three products."""

    def jvp(self, x, v):
        return self(x), v

    def vjp(self, x, v):
        return self(x), v


class WrongConjugate(MatrixOperator):
    """An adjoint without complex conjugation."""

    def vjp(self, x, v):
        value, _ = super().vjp(x, v)
        return value, (v @ self.matrix.tensor()).real


class InPlace(CubicOperator):
    def forward(self, x):
        x.mul_(1.0 + 1e-3)
        return x


class GlobalNoise(CubicOperator):
    def forward(self, x):
        return x + 1e-9 * torch.randn_like(x)


class WrongRange(CubicOperator):
    def forward(self, x):
        return x.flatten(1)[:, :-1]


class AnyShape(MatrixOperator):
    def check_domain(self, shape):
        pass

    def forward(self, x):
        return super().forward(x.flatten(1)[:, : self.matrix.shape[1]])


class Drifting(CubicOperator):
    """A hyper-parameter that changes at every validation."""

    depth: float = 1.0

    @field_validator("depth")
    @classmethod
    def _kilometres(cls, value):
        return value / 1000


class Undescribed(CubicOperator):
    pass


COMPLEX = FrozenArray([[1.0 + 1j, 0.3, 2.0], [0.2, 3.0, -1j]])
OPERATORS = [
    (DroppedPaddingAdjoint(), "dot_test"),
    (DroppedPaddingAdjoint(), "taylor_slope"),
    (DroppedPaddingAdjoint(), "jvp_matches_vjp"),
    (TransposedTwice(), "jacobian_matches_jvp"),
    (FalselyLinear(), "superposition"),
    (FalselyComplex(), "complex_tag"),
    (AlwaysDouble(), "dtype_kept"),
    (NormalisedByBatch(), "batch_invariance"),
    (WrongJacobian(), "taylor_slope"),
    (WrongConjugate(matrix=COMPLEX), "dot_test"),
    (InPlace(), "arguments_kept"),
    (GlobalNoise(), "global_random_state"),
    (WrongRange(), "shapes"),
    (AnyShape(matrix=COMPLEX), "wrong_shape_refused"),
    (Drifting(depth=500.0), "config_round_trip"),
    (Undescribed(), "described"),
]

# -- wrong samplers -----------------------------------------------------------------------------


class DroppedDeterminant(Exact):
    """Weights of the linearised posterior by residuals alone."""

    def posterior(self, problem):
        right = super().posterior(problem)
        prior, d = problem.prior, problem.dimension
        A = stack(problem.forward(torch.eye(d, dtype=prior.dtype))).mT
        S = A @ prior.covariances @ A.mT
        S = S + problem.noise.component_std**2 * torch.eye(len(A), dtype=A.dtype)
        log_weights = right.weights.log() + 0.5 * torch.logdet(S)
        return DensePosterior(torch.softmax(log_weights, 0), right.means, right.covariances)


class HalfComplexLikelihood(Exact):
    """The noise variance of complex data taken for that of each part."""

    def posterior(self, problem):
        if problem.noise.complex:
            noise = GaussianNoise(math.sqrt(2) * problem.noise.std, complex=True)
            problem = type(problem)(problem.prior, problem.operator, noise, problem.y)
        return super().posterior(problem)


class PriorOnly(Exact):
    """A false `exact`: the data are ignored."""

    def posterior(self, problem):
        far = GaussianNoise(1e6, problem.noise.complex)
        return super().posterior(type(problem)(problem.prior, problem.operator, far, problem.y))


class ShuffledPrior(Shuffled):
    """Interacting samples of the prior, called exact."""

    def posterior(self, problem):
        return PriorOnly().posterior(problem)


class GaussianOnly(Exact):
    """A false `exact`: the right mean and covariance, in one Gaussian."""

    def posterior(self, problem):
        right = super().posterior(problem)
        one = torch.ones(1, dtype=problem.prior.dtype)
        return DensePosterior(one, right.mean()[None], right.covariance()[None])


class FalselyExactDPS(DPSLike):
    tags = frozenset({"exact", "needs_gradient"})


class WrongLevel(ExactGuidance):
    """The denoiser asked at the level of the next step."""

    steps: int = 20

    def denoiser(self, problem):
        after = {float(step.level.s): step.next_level for step in self.reverse_steps}
        right = super().denoiser(problem)

        def denoise(z, level):
            later = after[float(level.s)]
            return right(z, later if later.s else level)

        return denoise


class HalfNoiseLangevin(Langevin):
    """sqrt(h) where sqrt(2 h) belongs, and called exact."""

    tags = frozenset({"exact", "uses_noise_level", "needs_gradient"})

    def noise(self, x, stream):
        return super().noise(x, stream) / math.sqrt(2)


class LongSteps(Langevin):
    """Steps so long that their bias shows, and called exact."""

    tags = frozenset({"exact", "uses_noise_level", "needs_gradient"})
    size: float = 0.2


class NormOverBatch(DPSLike):
    """One norm over the whole batch."""

    def norm(self, r):
        return r.norm()


class PositionMatters(DPSLike):
    def norm(self, r):
        return super().norm(r) * (1 + torch.arange(len(r)) / 100)[:, None]


class GlobalStart(DPSLike):
    def init(self, problem, stream):
        return {"z": torch.randn(TILE, problem.dimension, dtype=problem.prior.dtype)}


class Reseeds(DPSLike):
    """Seeds the global generator to be reproducible."""

    def init(self, problem, stream):
        torch.manual_seed(0)
        return super().init(problem, stream)


class OneCallTooMany(DPSLike):
    def denoiser(self, problem):
        right = super().denoiser(problem)

        def denoise(z, level):
            problem.prior.denoise(z, level)
            return right(z, level)

        return denoise


class SecretMomentum(Langevin):
    """A velocity that lives outside of the state."""

    _velocity: torch.Tensor | None = None

    def step(self, problem, state, k, stream):
        moved = super().step(problem, state, k, stream)["x"]
        old = self._velocity if k > 1 else None
        object.__setattr__(self, "_velocity", moved - state["x"])
        return {"x": moved if old is None else moved + 0.3 * old}


class WritesIntoState(Langevin):
    def step(self, problem, state, k, stream):
        moved = super().step(problem, state, k, stream)["x"]
        state["x"].copy_(moved)
        return {"x": state["x"]}


class WritesIntoProblem(Langevin):
    def init(self, problem, stream):
        problem.y.mul_(1.01)
        return super().init(problem, stream)


class HidesNaN(Langevin):
    def slope(self, problem, x):
        return torch.nan_to_num(super().slope(problem, x))


class SecretNoiseLevel(DPSLike):
    def norm(self, r):
        return super().norm(r) * self.steps

    def likelihood_score(self, problem, at):
        return super().likelihood_score(problem, at) / problem.noise.std


class FalseNoiseLevel(DPSLike):
    tags = frozenset({"needs_gradient", "uses_noise_level"})


class SecretGradient(DPSLike):
    tags = frozenset()


class SameTile(TiledSampler):
    """Every tile drawn from the stream of the first."""

    def sample_tile(self, problem, tile, streams, progress=None):
        return Samples(problem.prior.draw_tile(streams.at())[:, None])


class LearnsFromTiles(TiledSampler):
    """Every tile starts from where the one before has ended."""

    _last: torch.Tensor | None = None

    def sample_tile(self, problem, tile, streams, progress=None):
        x = problem.prior.draw_tile(streams.at(tile))
        if self._last is not None and tile > 0:
            x = x + 0.1 * self._last
        object.__setattr__(self, "_last", x)
        return Samples(x[:, None])


class FalselyUnconditional(DPSLike):
    @property
    def needs_question(self):
        return False


class AcceptsNonlinear(Exact):
    tags = frozenset({"exact", "closed_form", "uses_noise_level", "linear"})


class AlwaysDoubleSamples(Exact):
    def posterior(self, problem):
        return solve(problem)


class WholeTiles(Exact):
    """Gives whole tiles, whatever the number asked for."""

    def sample(self, problem, n, streams, progress=silent):
        return super().sample(problem, n_tiles(n) * TILE, streams, progress)


class Silent(Exact):
    def sample(self, problem, n, streams, progress=None):
        return Samples.independent(self.posterior(problem).sample(n, streams))


class WrongOwnMean(Exact):
    """A closed-form posterior whose stated mean is not that of its draws."""

    tags = frozenset({"closed_form", "uses_noise_level"})

    def posterior(self, problem):
        right = super().posterior(problem)
        right.mean = lambda: right.means[0]
        return right


SAMPLERS = [
    (DroppedDeterminant(), "exact_posterior"),
    (DroppedDeterminant(), "posterior_in_closed_form"),
    (HalfComplexLikelihood(), "exact_posterior"),
    (PriorOnly(), "exact_posterior"),
    (GaussianOnly(), "exact_posterior"),
    (ShuffledPrior(), "exact_posterior"),
    (FalselyExactDPS(), "exact_posterior"),
    (WrongLevel(), "exact_posterior"),
    (HalfNoiseLangevin(), "exact_posterior"),
    (LongSteps(), "exact_posterior"),
    (NormOverBatch(), "batch_invariance"),
    (PositionMatters(), "tile_position"),
    (GlobalStart(), "global_random_state"),
    (Reseeds(), "global_random_state"),
    (OneCallTooMany(), "denoiser_calls"),
    (SecretMomentum(), "resume"),
    (WritesIntoState(), "resume"),
    (WritesIntoProblem(), "arguments_kept"),
    (HidesNaN(), "divergence_named"),
    (SecretNoiseLevel(), "noise_level_ignored"),
    (FalseNoiseLevel(), "noise_level_matters"),
    (SecretGradient(), "gradient_tag"),
    (FalselyUnconditional(), "question_needed"),
    (SameTile(), "question_needed"),
    (SameTile(), "tiles_in_any_order"),
    (LearnsFromTiles(), "tiles_in_any_order"),
    (AcceptsNonlinear(), "nonlinear_refused"),
    (AlwaysDoubleSamples(), "dtype_kept"),
    (WholeTiles(), "shapes"),
    (Silent(), "progress_reported"),
    (WrongOwnMean(), "posterior_in_closed_form"),
]

# -- wrong datasets -----------------------------------------------------------------------------


class NotNested(Points):
    def load(self, streams):
        data = super().load(streams)
        return Data(data.train[streams.at(step=2).permutation(len(data.train))], data.held_out)


class Overlapping(Points):
    def load(self, streams):
        data = super().load(streams)
        return Data(data.train, data.train[-5:])


class HeldOutFollows(Points):
    """Held-out points that change with the number of training points."""

    def load(self, streams):
        data = super().load(streams)
        return Data(data.train, data.held_out + self.n_train)


class GlobalPoints(Points):
    def load(self, streams):
        np.random.seed(streams.seed)  # noqa: NPY002
        return Data(torch.from_numpy(np.random.randn(self.n_train, 2)), torch.zeros(0, 2).double())  # noqa: NPY002


class NotRandom(Points):
    tags = frozenset()


class Single(Points):
    def load(self, streams):
        data = super().load(streams)
        return Data(data.train.float(), data.held_out.float())


class MissingValues(Points):
    def load(self, streams):
        data = super().load(streams)
        data.train[3, 0] = torch.nan
        return data


DATASETS = [
    (NotNested(), "nestedness"),
    (HeldOutFollows(), "nestedness"),
    (Overlapping(), "held_out_disjoint"),
    (GlobalPoints(), "global_random_state"),
    (NotRandom(), "seed_determinism"),
    (Single(), "shapes"),
    (MissingValues(), "finite"),
]

# -- wrong schedules ----------------------------------------------------------------------------


class NothingLeft(Straight):
    """The path of the publication to its end, where a = 0."""

    c: float = 1.0


class ForwardDrift(Straight):
    """The drift of a, not of log a."""

    def drift(self, t):
        return torch.full_like(as_time(t), -self.c)

    def diffusion_squared(self, t):
        return -2 * as_time(t) * self.c * Straight.drift(self, t)


class WithoutDrift(Straight):
    """g^2 = d s^2 / dt, as if a were 1."""

    def diffusion_squared(self, t):
        return 2 * self.c**2 * as_time(t)


class Backwards(Straight):
    """Time runs from noise to data, as in the publications on flow matching."""

    def level(self, t):
        return super().level(1 - as_time(t))

    def drift(self, t):
        return -super().drift(1 - as_time(t))

    def diffusion_squared(self, t):
        return super().diffusion_squared(1 - as_time(t))


class SingleTimes(Straight):
    def level(self, t):
        return super().level(torch.as_tensor(t).float().double())


class SinglePrecision(Straight):
    def level(self, t):
        right = super().level(t)
        return NoiseLevel(right.a.float(), right.s.float())


class OneForAll(Straight):
    """The drift at the first time, for every sample."""

    def drift(self, t):
        return super().drift(as_time(t).flatten()[0])


class LateStart(Straight):
    @property
    def first_time(self):
        return 0.0


class ShortOfOne(Straight):
    def times(self, steps, t_min=0.0):
        return torch.linspace(1.0, t_min, steps).double()


SCHEDULES = [
    (NothingLeft(), "signal_and_noise"),
    (ForwardDrift(), "drift_is_the_rate"),
    (WithoutDrift(), "diffusion_is_the_rate"),
    (Backwards(), "noise_grows"),
    (Backwards(), "diffusion_is_the_rate"),
    (SingleTimes(), "drift_is_the_rate"),
    (SinglePrecision(), "float64"),
    (OneForAll(), "per_sample_times"),
    (LateStart(), "noise_grows"),
    (ShortOfOne(), "times_fall"),
]

# -- wrong networks -----------------------------------------------------------------------------


class CentresBatch(Perceptron):
    """Centres the states over the batch, as batch normalisation does in training."""

    class module(Perceptron.module):
        def features(self, x, clock):
            return super().features(x - x.mean(0), clock)


class FirstClock(Perceptron):
    """The noise level of the first row, for all."""

    class module(Perceptron.module):
        def features(self, x, clock):
            return super().features(x, clock[:1].expand(len(x)))


class Timeless(Perceptron):
    class module(Perceptron.module):
        def features(self, x, clock):
            return super().features(x, 0 * clock)


class SingleInside(Perceptron):
    class module(Perceptron.module):
        def forward(self, x, clock):
            return super().forward(x, clock).float()


class SeedsItself(Perceptron):
    """Reproducible in its own way: every network is the same one."""

    class module(Perceptron.module):
        def __init__(self, d):
            torch.manual_seed(0)
            super().__init__(d)


class HiddenFeatures(Perceptron):
    """Random features that are no weights: they are drawn again when a network is restored."""

    class module(Perceptron.module):
        def __init__(self, d):
            super().__init__(d)
            self.mixing = torch.randn(d, d).double()

        def features(self, x, clock):
            return super().features(x @ self.mixing.to(x), clock)


class RunningScale(Perceptron):
    """A buffer that is not among the averaged weights."""

    class module(Perceptron.module):
        def __init__(self, d):
            super().__init__(d)
            self.register_buffer("scale", torch.ones(d))


class Detached(Perceptron):
    class module(Perceptron.module):
        def features(self, x, clock):
            return super().features(x.tanh() + (x - x.detach()), clock)


class Flattened(Perceptron):
    class module(Perceptron.module):
        def forward(self, x, clock):
            return super().forward(x, clock).flatten()


NETWORKS = [
    (CentresBatch(), "rows_independent"),
    (FirstClock(), "rows_independent"),
    (Timeless(), "state_and_clock_matter"),
    (SingleInside(), "dtype_kept"),
    (SeedsItself(), "weights_follow_the_stream"),
    (HiddenFeatures(), "stored_and_restored"),
    (RunningScale(), "stored_and_restored"),
    (Detached(), "derivatives"),
    (Flattened(), "shapes"),
]

MUTANTS = [*PRIORS, *OPERATORS, *SAMPLERS, *DATASETS, *SCHEDULES, *NETWORKS]


@pytest.mark.parametrize(
    ("mutant", "name"), MUTANTS, ids=[f"{type(m).__name__}-{name}" for m, name in MUTANTS]
)
def test_a_named_check_catches_the_mutant(mutant, name):
    check = {check.name: check for check in checks_for(mutant)}[name]
    with pytest.raises(CheckFailedError):
        check()
