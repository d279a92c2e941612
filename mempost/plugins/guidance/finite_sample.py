"""The exact conditional score of a finite sample of the prior, for any forward map.

Under the empirical prior pi = sum_i pi_i delta(x - x_i) the law of z_t = a x + s e given the data
is known at every noise level, whatever F is:

    p(z_t | y) = sum_i q_i N(z_t; a x_i, s^2 I),        q_i = softmax_i(log pi_i + log p(y | x_i)),
    grad log p(y | z_t) = (a/s^2) (sum_i v_i x_i - sum_i w_i x_i),
    w = softmax(log pi_i - |z_t - a x_i|^2 / (2 s^2)),  v = softmax(log w_i + log p(y | x_i)).

So E[x | z_t, y] = sum_i v_i x_i is the denoiser of the atoms under the weights q, which do not
depend on t. Reverse diffusion with it has no error but that of the integrator: what another sampler
makes of p(z_t | y) can be held against it at every t. Where the atoms are draws of a continuous
prior the error is O(n^-1/2) in their number at fixed t > 0, and grows as t falls.

Reference: Burns & Fridovich-Keil 2026, "When, why, and how do diffusion posterior samplers fail? A
finite-sample lens".
"""

from __future__ import annotations

import torch
from pydantic import Field

from mempost.core.capabilities import Examples, HasExamples, require
from mempost.core.flow import Denoise
from mempost.core.guidance import Guidance
from mempost.core.memory import remember
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_possible
from mempost.core.streams import Streams
from mempost.methods.bibliography import BURNS_2026_LENS
from mempost.methods.mixtures.kernel_mixture import KernelMixture


class FiniteSampleGuidance(Guidance):
    """The exact conditional denoiser of an empirical prior.

    The atoms are the training examples that the prior keeps, whatever the prior makes of them (the
    bandwidth of an empirical prior counts as 0), or ``atoms`` draws of it. Noise level: used,
    at its true value. Assumes: that the atoms are the prior. Any operator, no derivatives. Cost:
    one forward map an atom in all; of a step, one matrix product of particles and atoms.
    """

    tags = frozenset({"uses_noise_level"})
    publications = (BURNS_2026_LENS,)

    atoms: int | None = Field(
        None, ge=1, description="draws of the prior to use; null: the training examples"
    )
    seed: int = Field(0, ge=0, description="of these draws")

    def check(self, problem: InverseProblem) -> None:
        if self.atoms is None:
            _kept(problem)

    def conditioned(self, problem: InverseProblem) -> KernelMixture:
        """The atoms with weights q_i: the law of x given y, and of z_t given y at every level."""
        self.check(problem)
        return _conditioned(problem, self.atoms, self.seed)

    def denoiser(self, problem: InverseProblem) -> Denoise:
        """E[x | z_t, y], the denoiser of the atoms under their posterior weights."""
        return self.conditioned(problem).denoise


def _kept(problem: InverseProblem) -> Examples:
    remedy = "give atoms: N to draw N of them"
    return require(problem.prior, HasExamples, "finite_sample", remedy).examples


def _conditioned(problem: InverseProblem, atoms: int | None, seed: int) -> KernelMixture:
    prior, drawn = problem.prior, Streams(seed, "training")

    def make() -> KernelMixture:
        if atoms is None:
            x, weights = _kept(problem)
            log_pi = weights.log()
        else:
            x = remember(lambda: prior.sample(atoms, drawn), "atoms", prior, atoms, seed)
            log_pi = x.new_zeros(atoms)
        log_likelihood = require_possible(problem.log_likelihood_at(x), "log p(y | x_i)")
        weights = torch.softmax(log_pi + log_likelihood, 0).to(x.dtype)
        return KernelMixture(x, 0.0, weights, prior.shape)

    return remember(make, "atoms given the data", prior, problem.question, atoms, seed)
