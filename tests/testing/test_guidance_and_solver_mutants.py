"""Wrong guidances and solvers, each caught by the check that is named here; the right ones pass."""

from __future__ import annotations

import pytest
import torch

from mempost.core import flow
from mempost.core.autodiff import value_and_pullback
from mempost.core.errors import PluginError
from mempost.core.guidance import Correction, Guidance
from mempost.core.level import NoiseLevel
from mempost.core.noise import stack
from mempost.core.solver import FixedSolver
from mempost.plugins.solvers.dormand_prince import DormandPrince
from mempost.testing import CheckFailedError, checks_for
from mempost.testing.reference import DenseMixture, is_solvable, solve

# -- guidances ------------------------------------------------------------------------------------


class AtMean(Guidance):
    """The likelihood at the denoised mean."""

    tags = frozenset({"uses_noise_level", "needs_gradient"})

    def pull(self, problem, at):
        return problem.misfit_ascent(at.mean)[1] / problem.noise.component_std**2

    def likelihood_score(self, problem, at):
        return at.vjp(self.pull(problem, at))


class Conditional(Guidance):
    """The denoiser of the posterior, by dense formulas."""

    tags = frozenset({"exact", "uses_noise_level"})

    def check(self, problem):
        if not is_solvable(problem):
            raise PluginError("the dense formulas are for mixtures and linear operators")

    def denoiser(self, problem):
        posterior = solve(problem)
        factors = posterior.covariances
        if not posterior.is_atomic:
            factors = torch.linalg.cholesky(factors)
        parts = (posterior.weights, posterior.means, factors)
        return DenseMixture(*(part.to(problem.prior.dtype) for part in parts)).denoise


class Nudge(Correction):
    """A short move down the misfit after every step."""

    tags = frozenset({"needs_gradient"})

    def correct(self, problem, at, z_next, step):
        x = problem.prior.denoise(z_next, step.next_level)
        return z_next + 0.01 * problem.misfit_ascent(x)[1]

    def calls(self, step):
        return 1


class Repelled(AtMean):
    """The sign of the misfit's gradient."""

    def pull(self, problem, at):
        return -super().pull(problem, at)


class AlikeData(AtMean):
    """Residuals as they are, as if all data had the noise of the most accurate one."""

    def pull(self, problem, at):
        residual, pullback = value_and_pullback(
            lambda x: stack(problem.residual(x).nan_to_num()), at.mean
        )
        return -pullback(residual) / problem.noise.component_std**2


class NormOverBatch(AtMean):
    def pull(self, problem, at):
        pull = super().pull(problem, at)
        return pull / (1 + pull.norm())


class LevelOfTheFirst(AtMean):
    """Weights by the noise level of the first row."""

    def pull(self, problem, at):
        return super().pull(problem, at) / (1 + at.s[:1] ** 2)


class FalseNoiseLevel(AtMean):
    def pull(self, problem, at):
        return problem.misfit_ascent(at.mean)[1]


class SecretNoiseLevel(AtMean):
    tags = frozenset({"needs_gradient"})


class NeverLetsGo(AtMean):
    """A pull of fixed length, which the noise level turns but does not take away."""

    def pull(self, problem, at):
        _, ascent = problem.misfit_ascent(at.mean)
        length = 1 + 1 / (1 + problem.noise.std)
        return length * ascent / ascent.norm(dim=-1, keepdim=True)


class SeesNoData(AtMean):
    """The misfit of data that are zero."""

    def pull(self, problem, at):
        return super().pull(problem.with_data(0 * problem.y), at)


class FalselyExact(AtMean):
    tags = AtMean.tags | {"exact"}


class SecretGradient(AtMean):
    tags = frozenset({"uses_noise_level"})


class AcceptsNonlinear(AtMean):
    tags = AtMean.tags | {"linear"}


class AsksTwice(AtMean):
    """The mean once more, besides the call that has the Jacobian."""

    def pull(self, problem, at):
        problem.prior.denoise(at.z, at.level)
        return super().pull(problem, at)


class CountsNone(Nudge):
    def calls(self, step):
        return 0


class Jitter(AtMean):
    def pull(self, problem, at):
        return super().pull(problem, at) + 1e-6 * torch.randn_like(at.z)


class WritesIntoState(AtMean):
    def denoiser(self, problem):
        right = super().denoiser(problem)

        def denoise(z, level):
            mean = right(z, level)
            z += 1e-3
            return mean

        return denoise


class AlwaysDouble(AtMean):
    def denoiser(self, problem):
        right = super().denoiser(problem)
        return lambda z, level: right(z, level).double()


class FailsAtSmallNoise(AtMean):
    """A weight that is no number below s = 0.9."""

    def denoiser(self, problem):
        right = super().denoiser(problem)
        return lambda z, level: right(z, level) * (level.columns(z)[1] - 0.9).sqrt()


GUIDANCES = [
    (Repelled(), "towards_the_data"),
    (AlikeData(), "noise_of_every_datum"),
    (NormOverBatch(), "rows_independent"),
    (LevelOfTheFirst(), "levels_by_row"),
    (FalseNoiseLevel(), "noise_level_matters"),
    (SecretNoiseLevel(), "noise_level_ignored"),
    (NeverLetsGo(), "uninformative_data"),
    (SeesNoData(), "data_matter"),
    (FalselyExact(), "exact_conditional"),
    (SecretGradient(), "gradient_tag"),
    (AcceptsNonlinear(), "nonlinear_refused"),
    (AsksTwice(), "denoiser_calls"),
    (CountsNone(), "denoiser_calls"),
    (Jitter(), "randomness"),
    (WritesIntoState(), "arguments_kept"),
    (AlwaysDouble(), "dtype_kept"),
    (FailsAtSmallNoise(), "finite"),
]

# -- solvers --------------------------------------------------------------------------------------


class Straight(FixedSolver):
    """Euler's step."""

    def step(self, denoise, z, step, stream):
        return flow.euler(z, denoise(z, step.level), step.level, step.next_level)


class Noisy(FixedSolver):
    """Ancestral sampling."""

    strength: float = 1.0

    def step(self, denoise, z, step, stream):
        noise = self.strength * self.draw(z, stream)
        mean = denoise(z, step.level)
        return flow.ancestral(z, mean, step.level, step.next_level, 1.0, noise)

    def draw(self, z, stream):
        return stream.normal(tuple(z.shape), z.dtype, z.device)


class HalfTheNoise(Noisy):
    strength: float = 0.5


class GlobalNoise(Noisy):
    def draw(self, z, stream):
        return torch.randn_like(z)


class ForgetsScale(FixedSolver):
    """The step of u = z/a taken in z."""

    def step(self, denoise, z, step, stream):
        mean = denoise(z, step.level)
        ratio = (step.next_level.s / step.next_level.a) / (step.level.s / step.level.a)
        return mean + ratio * (z - mean)


class LosesNoise(Straight):
    """A little noise less than there should be, at every step."""

    def step(self, denoise, z, step, stream):
        short = NoiseLevel(step.next_level.a, 0.99 * step.next_level.s)
        return flow.euler(z, denoise(z, step.level), step.level, short)


class LevelBeyond(Straight):
    """Asks at a level above that of the state."""

    def step(self, denoise, z, step, stream):
        above = NoiseLevel(step.level.a, 1.05 * step.level.s)
        return flow.euler(z, denoise(z, above), step.level, step.next_level)


class CentresBatch(Straight):
    def step(self, denoise, z, step, stream):
        return super().step(denoise, z, step, stream) + 1e-6 * z.mean(0)


class SaysOneCall(FixedSolver):
    def step(self, denoise, z, step, stream):
        return flow.heun(denoise, z, denoise(z, step.level), step.level, step.next_level)


class Momentum(Straight):
    """The move before the last, taken in part once more."""

    _last: object = None

    def step(self, denoise, z, step, stream):
        there = super().step(denoise, z, step, stream)
        move, last = there - z, self._last
        object.__setattr__(self, "_last", move)
        return there if last is None or last.shape != z.shape else there + 1e-3 * last


class InPlace(Straight):
    def step(self, denoise, z, step, stream):
        mean = denoise(z, step.level)
        return (
            z.sub_(step.level.a * mean)
            .mul_(step.next_level.s / step.level.s)
            .add_(step.next_level.a * mean)
        )


class DoubleInside(Straight):
    def step(self, denoise, z, step, stream):
        return super().step(denoise, z.double(), step, stream)


class OneStepForAll(DormandPrince):
    """The step of the row with the largest error."""

    def _error(self, u, end, tau, difference):
        error = super()._error(u, end, tau, difference)
        return error.max().expand_as(error)


class OnlyTheEnd(DormandPrince):
    def integrate(self, denoise, z, level, targets):
        return super().integrate(denoise, z, level, targets[-1:])


class Coarse(DormandPrince):
    """One step, however long."""

    def integrate(self, denoise, z, level, targets):
        mean = denoise(z, level)
        return [flow.euler(z, mean, level, target) for target in targets]


SOLVERS = [
    (HalfTheNoise(), "law_of_the_flow"),
    (ForgetsScale(), "law_of_the_flow"),
    (ForgetsScale(), "path_of_the_flow"),
    (LosesNoise(), "path_of_the_flow"),
    (Coarse(), "path_of_the_flow"),
    (LevelBeyond(), "levels_asked"),
    (CentresBatch(), "rows_independent"),
    (OneStepForAll(), "rows_independent"),
    (SaysOneCall(), "denoiser_calls"),
    (GlobalNoise(), "randomness_from_the_stream"),
    (Momentum(), "no_memory"),
    (InPlace(), "arguments_kept"),
    (DoubleInside(), "dtype_kept"),
    (OnlyTheEnd(), "levels_between"),
]

# -------------------------------------------------------------------------------------------------

RIGHT = [AtMean(), Conditional(), Nudge(), Straight(), Noisy(), DormandPrince()]
MUTANTS = [*GUIDANCES, *SOLVERS]


@pytest.mark.parametrize("plugin", RIGHT, ids=lambda p: type(p).__name__)
def test_the_right_ones_pass_every_check(plugin):
    outcomes = [check.outcome() for check in checks_for(plugin)]
    assert [str(o) for o in outcomes if o.status not in ("passed", "skipped")] == []
    assert sum(o.status == "passed" for o in outcomes) >= 11


@pytest.mark.parametrize(
    ("mutant", "name"), MUTANTS, ids=[f"{type(m).__name__}-{name}" for m, name in MUTANTS]
)
def test_a_named_check_catches_the_mutant(mutant, name):
    check = {check.name: check for check in checks_for(mutant)}[name]
    with pytest.raises(CheckFailedError):
        check()
