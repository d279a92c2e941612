"""Plugins that claim what they cannot give, each caught by a public check; honest ones pass."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from mempost.core.capabilities import Examples, HasDensity
from mempost.core.operator import Composition, ForwardOperator
from mempost.core.prior import Prior, State
from mempost.core.sampler import ExactSampler
from mempost.methods.mixtures.mixture_marginals import GaussianMixture1D
from mempost.methods.posteriors.discrete_posterior import DiscretePosterior
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.testing import CheckFailedError, checks_for, examples
from mempost.testing.reference import CubicOperator, DenseMixture, DensePosterior, solve

# -- priors -------------------------------------------------------------------------------------


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


def prior_with(fitted):
    members = {"fitted_class": fitted, "__doc__": "One.", "__module__": __name__}
    return type(fitted.__name__, (Mixture,), members)()


class Kernels(Prior):
    """A Gaussian of variance 1/2 around every training point."""

    tags = frozenset({"closed_form", "log_density"})
    fitted_class = DenseMixture

    def _fit(self, x, shape, streams, progress):
        factors = math.sqrt(0.5) * torch.eye(x.shape[1], dtype=x.dtype)
        weights = x.new_full((len(x),), 1 / len(x))
        return self.fitted_class(weights, x, factors.expand(len(x), -1, -1))


def on_examples(fitted, tags=Kernels.tags):
    members = {"fitted_class": fitted, "tags": tags, "__doc__": "One.", "__module__": __name__}
    return type(fitted.__name__, (Kernels,), members)()


class Remembers(DenseMixture):
    """Components on the training examples, which it keeps, with one bandwidth and a history."""

    bandwidth = math.sqrt(0.5)

    @property
    def examples(self):
        return Examples(self.means, self.weights)

    @property
    def history(self):
        one = torch.arange(3.0)
        curves = {"step": one, "loss": one, "learning_rate": one, "level_error": torch.ones(3, 4)}
        return SimpleNamespace(curves=curves, edges=torch.arange(5.0))


class BranchAtZero(DenseMixture):
    """A branch that divides by s, and is not taken at s = 0: its values are right, its NaN stay."""

    def _log_density(self, z, a, s):
        divided = super()._log_density(z / s * s, a, s)
        return torch.where(s[:, 0] > 0, divided, super()._log_density(z, a, s))


class OtherDensityAtZero(DenseMixture):
    """At s = 0 the gradient is stopped on its way."""

    def _log_density(self, z, a, s):
        return super()._log_density(torch.where(s > 0, z, z.detach() + 0 * z), a, s)


class Atomic(DenseMixture):
    withheld: ClassVar = {HasDensity: "it says so"}


class ScaledExamples(Remembers):
    @property
    def examples(self):
        return Examples.of(1.01 * self.means)


class CountedExamples(Remembers):
    @property
    def examples(self):
        return Examples(self.means, torch.ones_like(self.weights))


class ForgottenExamples(Remembers):
    """The examples live beside the state, and are gone when it is loaded."""

    def __init__(self, weights, means, factors, shape=None):
        super().__init__(weights, means, factors, shape)
        self.kept = means.clone()

    @property
    def examples(self):
        return Examples.of(self.kept)

    @classmethod
    def _from_state(cls, state):
        again = super()._from_state(State(state.tensors, state.values))
        again.kept = again.kept[:1]
        return again


class VarianceForBandwidth(Remembers):
    bandwidth = 0.5


class ShortHistory(Remembers):
    @property
    def history(self):
        history = super().history
        history.curves["loss"] = history.curves["loss"][:2]
        return history


class FalselyRandom(Kernels):
    tags = Kernels.tags | {"random"}


# -- operators ----------------------------------------------------------------------------------


class PaddedSum(ForwardOperator):
    """Neighbouring sums of a signal that is continued beyond both ends."""

    tags = frozenset({"linear"})

    def forward(self, x):
        padded = torch.cat([x[:, :1], x, x[:, -1:]], 1)
        return padded[:, :-2] + padded[:, 2:]


class SaysLinear(Composition):
    """A chain that does not derive whether it is linear."""

    def _tags(self):
        return frozenset({"linear"})


class Projects(CubicOperator):
    """A cubic with its inverse, by Newton's method."""

    def project(self, m):
        x = m.clone()
        for _ in range(60):
            x = x - (x + x**3 / 10 - m) / (1 + 0.3 * x**2)
        return x


class HalfProjection(CubicOperator):
    """The inverse of the linear part alone."""

    def project(self, m):
        return m


# -- posteriors ---------------------------------------------------------------------------------


class Claims(DensePosterior):
    """Dense Gaussians that integrate linear functions, with components, tangents and marginals."""

    @property
    def converged(self):
        return torch.ones(len(self.means), dtype=torch.bool)

    @property
    def log_weights(self):
        return self.weights.log()

    @property
    def component_means(self):
        return self.means

    @property
    def points(self):
        return self.means

    def component_covariances(self, index):
        return self.covariances[index]

    def component_draws(self, index, count, stream):
        return self.means[index, None].expand(-1, count, -1)

    def expectation(self, f):
        return self.weights @ f(self.means)

    def marginals(self, coordinates=None):
        stds = self.covariances.diagonal(dim1=1, dim2=2).sqrt()
        chosen = range(self.means.shape[1]) if coordinates is None else coordinates
        return [self.marginal(self.means[:, i], stds[:, i]) for i in chosen]

    def marginal(self, means, stds):
        return GaussianMixture1D(self.weights, means, stds)


class Exact(ExactSampler):
    """The dense formulas as a sampler."""

    tags = frozenset({"exact", "closed_form", "uses_noise_level"})

    def posterior(self, problem):
        exact = solve(problem)
        return self.made(exact.weights, exact.means, exact.covariances, problem.prior.dtype)

    def made(self, *parts):
        return DensePosterior(*(part.to(parts[-1]) for part in parts[:-1]))


def answering(posterior):
    class Mutant(Exact):
        """The dense formulas, with a posterior that claims more."""

        def made(self, *parts):
            return posterior(*(part.to(parts[-1]) for part in parts[:-1]))

    Mutant.__name__ = posterior.__name__
    return Mutant()


class Percent(Claims):
    @property
    def weights(self):
        return 100 * super().weights

    def mean(self):
        return super().mean() / 100


class SumsUp(Claims):
    def expectation(self, f):
        return f(self.means).sum(0)


class WrongMeanIntegral(Claims):
    def expectation(self, f):
        return f(self.mean()[None] * 1.01)[0]


class DroppedConstant(Claims):
    def log_density(self, x):
        return super().log_density(x) + 0.5 * x.shape[1] * math.log(2 * math.pi)


class HalfCovariances(Claims):
    def component_covariances(self, index):
        return 0.5 * self.covariances[index]


class DrawsFirst(Claims):
    def component_draws(self, index, count, stream):
        return super().component_draws(index, count, stream).movedim(0, 1)


class VariancesForStds(Claims):
    """Marginals whose density has the variance where the standard deviation belongs."""

    def marginal(self, means, stds):
        class Wrong(GaussianMixture1D):
            def density(self, x):
                return GaussianMixture1D(self.weights, self.means, self.stds**2).density(x)

        return Wrong(self.weights, means, stds)


def shifted_atoms(weights, means, covariances):
    class Shifted(DiscretePosterior):
        def mean(self):
            return super().mean() + 0.1

    return Shifted(means, weights.log(), torch.zeros(()))


# -- what catches them ----------------------------------------------------------------------------

HONEST = [
    on_examples(Remembers),
    Projects(),
    answering(Claims),
    EmpiricalGMM(bandwidth=0.0),
]

MUTANTS = [
    (prior_with(BranchAtZero), "density_without_noise"),
    (prior_with(OtherDensityAtZero), "density_without_noise"),
    (prior_with(Atomic), "density_tag"),
    (on_examples(Remembers, frozenset()), "density_tag"),
    (on_examples(ScaledExamples), "examples_kept"),
    (on_examples(CountedExamples), "examples_kept"),
    (on_examples(ForgottenExamples), "examples_kept"),
    (on_examples(VarianceForBandwidth), "bandwidth_of_all"),
    (on_examples(ShortHistory), "history_complete"),
    (FalselyRandom(), "fit_follows_seed"),
    (SaysLinear(operators=(PaddedSum(), CubicOperator())), "superposition"),
    (HalfProjection(), "projection"),
    (answering(Percent), "posterior_weights"),
    (answering(SumsUp), "posterior_integrals"),
    (answering(WrongMeanIntegral), "posterior_integrals"),
    (answering(DroppedConstant), "posterior_density"),
    (answering(shifted_atoms), "posterior_atoms"),
    (answering(HalfCovariances), "posterior_components"),
    (answering(DrawsFirst), "posterior_tangents"),
    (answering(VariancesForStds), "posterior_marginals"),
]


@pytest.mark.parametrize("plugin", HONEST, ids=lambda p: type(p).__name__)
def test_honest_plugins_pass_every_check(plugin):
    outcomes = [check.outcome() for check in checks_for(plugin)]
    assert [str(o) for o in outcomes if o.status not in ("passed", "skipped")] == []


@pytest.mark.parametrize(
    ("mutant", "name"), MUTANTS, ids=[f"{type(m).__name__}-{name}" for m, name in MUTANTS]
)
def test_a_named_check_catches_the_mutant(mutant, name):
    check = {check.name: check for check in checks_for(mutant)}[name]
    with pytest.raises(CheckFailedError):
        check()


def test_no_check_of_a_capability_is_skipped_for_all_honest_plugins():
    passed = set()
    for plugin in HONEST:
        for check in checks_for(plugin):
            if check.name in {name for _, name in MUTANTS} and check.outcome().status == "passed":
                passed.add(check.name)
    elsewhere = {"fit_follows_seed", "posterior_atoms", "superposition"}
    assert passed >= {name for _, name in MUTANTS} - elsewhere


def test_a_composition_is_held_to_the_tags_that_it_derives():
    linear = {check.name: check for check in checks_for(PaddedSum() @ PaddedSum())}
    linear["superposition"]()
    linear["complex_tag"]()
    assert "superposition" not in {c.name for c in checks_for(PaddedSum() @ CubicOperator())}


def test_what_is_mixed_up_is_told_apart() -> None:
    """The mutants of the density at s = 0 are right at every s > 0."""
    for fitted in (BranchAtZero, OtherDensityAtZero):
        check = {c.name: c for c in checks_for(prior_with(fitted))}["score_is_gradient"]
        check()
