"""The conditional score of paired data: weights of a kernel between the data and those of pairs.

A model that is trained on pairs (x_n, y_n), y_n = F(x_n) + noise, to denoise x given y, never sees
a likelihood. Its exact minimiser, smoothed in y by a Gaussian kernel of width eta, is

    E[x | z_t, y] = sum_n v_n x_n,    v_n ~ pi_n exp(-|z_t - a x_n|^2/(2 s^2)) K((y - y_n)/eta).

As eta falls all weight goes to the pair whose y_n is nearest to y, whatever the noise is: the
posterior has become one pair (for eta = 0 with y = y_n it is the form of Baptista et al. in which
only matching pairs count). With pairs that carry no noise and eta = gamma, the standard deviation
of the noise, K is the likelihood, and the answer that of the guidance ``finite_sample``; with noisy
pairs it counts the noise twice, gamma^2 + eta^2, and data that say nothing still choose among them
by their noise; with many noisy copies of every x_n and a small eta the likelihood comes back. Pairs
are simulated from the training examples of the prior.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models" (the conditioned setting).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.capabilities import Examples, HasExamples, require
from mempost.core.flow import Denoise
from mempost.core.guidance import Guidance
from mempost.core.memory import remember
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.core.streams import Streams
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.mixtures.kernel_mixture import KernelMixture


class PairedKernel(Guidance):
    """The exact conditional denoiser of simulated pairs, with a Gaussian kernel in the data.

    Pairs are the prior's training examples with data of their own, ``copies`` of each. Noise level:
    used, in the noise of the pairs and as the unit of the kernel's width. Assumes: that the atoms
    are the prior, and Gaussian noise. Any operator, no derivatives. Cost: one forward map an
    example in all.
    """

    tags = frozenset({"uses_noise_level"})
    publications = (BAPTISTA_2025_MEMORIZATION,)

    width: float = Field(
        1.0, gt=0, description="eta over gamma, the standard deviation of a real datum's noise"
    )
    noise: float = Field(
        1.0, ge=0, description="noise of the pairs over gamma; 0 for none", examples=[0.0]
    )
    copies: int = Field(1, ge=1, description="pairs of every example, each with noise of its own")
    seed: int = Field(0, ge=0, description="of this noise")

    def check(self, problem: InverseProblem) -> None:
        _examples(problem)
        problem.gaussian("paired_kernel")

    def conditioned(self, problem: InverseProblem) -> KernelMixture:
        """The examples with the weights of their pairs: the law of x given y."""
        x, pi = _examples(problem)

        def make() -> KernelMixture:
            log_weights = pi.log() + self._log_kernels(problem, x)
            weights = torch.softmax(require_finite(log_weights, "log K((y - y_n)/eta)"), 0)
            return KernelMixture(x, 0.0, weights, problem.prior.shape)

        return remember(make, "paired kernel", self, problem.prior, problem.question)

    def denoiser(self, problem: InverseProblem) -> Denoise:
        """E[x | z_t, y], the denoiser of the examples under the weights of their pairs."""
        return self.conditioned(problem).denoise

    def _log_kernels(self, problem: InverseProblem, x: Tensor) -> Float[Tensor, " n"]:
        """The log sum over copies of K((y - y_n)/eta), up to a constant; a copy at a time."""
        gaussian = problem.gaussian("paired_kernel")
        residual = gaussian.whiten(problem.y.flatten() - problem.forward_at(x))
        streams, total = Streams(self.seed, "noise"), None
        for copy in range(self.copies if self.noise > 0 else 1):
            e = streams.at(copy).normal(tuple(residual.shape), residual.dtype, residual.device)
            square = (residual - self.noise * e).square().sum(-1)
            term = -square / (2 * self.width**2)
            total = term if total is None else torch.logaddexp(total, term)
        assert total is not None
        return total


def _examples(problem: InverseProblem) -> Examples:
    remedy = "take empirical_gmm, or another prior of a training set"
    return require(problem.prior, HasExamples, "paired_kernel", remedy).examples
