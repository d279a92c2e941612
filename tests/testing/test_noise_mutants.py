"""Wrong noises, and the check that catches each of them."""

import math
from typing import ClassVar

import pytest
import torch
from pydantic import Field

from mempost.core.arrays import FrozenArray, Positive
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.noise import Noise, NoiseRecipe, Partial, per_datum
from mempost.core.streams import Streams
from mempost.testing import CheckFailedError, checks_for


class Laplace(Noise):
    """A right one: Laplace's noise of a scale, or of one for every datum."""

    b: Positive = Field(0.3)

    def log_density(self, y, f):
        b = per_datum(self.b, f)
        return (-(y - f).abs() / b - (2 * b).log()).sum(-1)

    def perturb(self, f, stream):
        u = stream.uniform(tuple(f.shape), f.dtype, f.device) - 0.5
        return f - per_datum(self.b, f) * u.sign() * torch.log1p(-2 * u.abs())


class Additive(NoiseRecipe):
    """A right one: Gaussian noise of the law ``law``."""

    std: float = 0.3
    law: ClassVar[type] = GaussianNoise

    def resolve(self, f):
        return self.law(self.std, f.is_complex())


class Unnormalised(Laplace):
    def log_density(self, y, f):
        return (-(y - f).abs() / per_datum(self.b, f)).sum(-1)


class NoiseOfHalfTheSize(Laplace):
    """Draws of half the scale."""

    def perturb(self, f, stream):
        return f + (super().perturb(f, stream) - f) / 2


class HalfOfTheCounts(Noise):
    """Counts whose density leaves the rate out."""

    def log_density(self, y, f):
        return (torch.xlogy(y, f) - torch.lgamma(y + 1)).sum(-1)

    def perturb(self, f, stream):
        return stream.poisson(f)


class Detached(Laplace):
    def log_density(self, y, f):
        return super().log_density(y, f.detach() + 0 * f)


class FirstDatum(Laplace):
    """A scale for every datum, and all have that of the first."""

    def log_density(self, y, f):
        b = per_datum(self.b, f).reshape(-1)[0]
        return (-(y - f).abs() / b - (2 * b).log()).sum(-1)


class FullArrays(Laplace):
    """Where data are missing the numbers are still those of the first data."""

    def restrict(self, index):
        return self.model_copy(update={"b": FrozenArray(self.b.numpy()[: len(index)])})


class FilledWithZero(Laplace):
    """A missing datum is drawn as 0, and counted."""

    def without(self, missing):
        return ZeroLaw(self, missing)


class ZeroLaw(Partial):
    def __init__(self, noise, missing):
        there = Laplace().without(missing).there
        super().__init__(noise, there, len(missing))

    def log_density(self, y, f):
        return self.noise.log_density(torch.nan_to_num(y), f)


class OneNorm(Laplace):
    def log_density(self, y, f):
        return super().log_density(y, f).mean().expand(len(f) if f.ndim > 1 else 1)


class OwnGenerator(Laplace):
    def perturb(self, f, stream):
        return super().perturb(f, Streams(0, "noise").at(tile=1))


class GlobalGenerator(Laplace):
    def perturb(self, f, stream):
        return f + self.b * torch.distributions.Laplace(0.0, 1.0).sample(f.shape).to(f)


class InPlace(Laplace):
    def perturb(self, f, stream):
        return f.add_(super().perturb(f, stream) - f)


class AlwaysDouble(Laplace):
    def log_density(self, y, f):
        return super().log_density(y.double(), f.double())


class HalfLikelihood(GaussianNoise):
    """Complex residuals weighed like real ones: half of the log-likelihood."""

    @property
    def component_std(self):
        return self.std

    def perturb(self, f, stream):
        return GaussianNoise(self.std, self.complex).perturb(f, stream)


class WrongUnits(GaussianNoise):
    def whiten(self, residual):
        return super().whiten(residual) * math.sqrt(2)


class AdditiveHalf(Additive):
    law = HalfLikelihood


class AdditiveWrong(Additive):
    law = WrongUnits


MUTANTS = [
    (Unnormalised(), "draws_follow_density"),
    (NoiseOfHalfTheSize(), "draws_follow_density"),
    (HalfOfTheCounts(), "draws_follow_density"),
    (FirstDatum(b=[0.1, 1.0]), "joint_density"),
    (FullArrays(b=[0.1, 1.0]), "draws_follow_density"),
    (Detached(), "gradient"),
    (FilledWithZero(), "missing_data"),
    (OneNorm(), "batch_invariance"),
    (OwnGenerator(), "global_random_state"),
    (GlobalGenerator(), "global_random_state"),
    (InPlace(), "arguments_kept"),
    (AlwaysDouble(), "dtype_kept"),
    (AdditiveHalf(), "whitening"),
    (AdditiveHalf(), "draws_follow_density"),
    (AdditiveWrong(), "whitening"),
]


@pytest.mark.parametrize("noise", [Laplace(), Laplace(b=[0.1, 1.0]), Additive()], ids=repr)
def test_the_right_ones_pass_every_check(noise):
    outcomes = [check.outcome() for check in checks_for(noise)]
    assert [str(o) for o in outcomes if o.status not in ("passed", "skipped")] == []
    assert sum(o.status == "passed" for o in outcomes) >= 10


@pytest.mark.parametrize(
    ("mutant", "name"), MUTANTS, ids=[f"{type(m).__name__}-{name}" for m, name in MUTANTS]
)
def test_a_named_check_catches_the_mutant(mutant, name):
    check = {check.name: check for check in checks_for(mutant)}[name]
    with pytest.raises(CheckFailedError):
        check()
