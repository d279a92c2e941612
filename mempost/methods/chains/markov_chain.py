"""What the Markov chain samplers share: warm-up, thinning, adaptation, the target density.

A chain makes ``warmup`` steps, then ``draws`` x ``thin`` more of which every ``thin``-th is kept.
One run of a sampler is n independent chains, started from n draws of the prior.

During the warm-up a step size h is adapted for every chain by itself (Robbins & Monro 1951) towards
a mean acceptance probability alpha*,

    log h_{k+1} = log h_k + k^{-0.6} (alpha_k - alpha*),

and is then frozen, so that all kept draws come from one reversible kernel. Chains stay independent.

Reference: Andrieu & Thoms 2008, "A tutorial on adaptive MCMC".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.autodiff import value_and_pullback
from mempost.core.capabilities import HasDensity, HasNoisedDensity, IsGaussian, ask
from mempost.core.errors import NonFiniteError, PluginError
from mempost.core.iterative import IterativeSampler
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Stream

_TRIES = 100


class MarkovChain(IterativeSampler):
    """A sampler whose samples are chains of correlated draws."""

    warmup: int = Field(500, ge=0, description="steps before the first draw", examples=[60])
    draws: int = Field(100, ge=1, description="draws kept of every chain", examples=[10])
    thin: int = Field(5, ge=1, description="steps from one draw to the next", examples=[2])

    @property
    def n_steps(self) -> int:
        return self.warmup + self.draws * self.thin

    def is_draw(self, k: int) -> bool:
        return k > self.warmup and (k - self.warmup) % self.thin == 0

    def adapt(
        self, size: Float[Tensor, " batch"], acceptance: Tensor, k: int, target: float
    ) -> Float[Tensor, " batch"]:
        """The step size after step k: moved towards the target in the warm-up, else as it is."""
        if k > self.warmup:
            return size
        return size * torch.exp(k**-0.6 * (acceptance - target))


def acceptance_probability(
    log_ratio: Float[Tensor, " batch"], *proposed: Float[Tensor, "batch d"]
) -> Float[Tensor, " batch"]:
    """min(1, exp(log_ratio)), and 0 where the ratio or anything ``proposed`` is not finite."""
    finite = torch.isfinite(log_ratio)
    for value in proposed:
        finite = finite & torch.isfinite(value).all(1)
    return torch.where(finite, log_ratio.clamp(max=0).exp(), 0.0)


def possible_start(problem: InverseProblem, stream: Stream) -> Float[Tensor, "tile d"]:
    """A tile of draws of the prior, those at which the data are impossible drawn again.

    Only noise that is not Gaussian makes data impossible.

    Raises:
        NonFiniteError: a hundred draws do not make the data possible.
    """
    x = problem.prior.draw_tile(stream)
    if ask(problem.noise, IsGaussian) is not None:
        return x
    for _ in range(_TRIES):
        impossible = problem.log_likelihood(x).isneginf()
        if not impossible.any():
            return x
        x = torch.where(impossible[:, None], problem.prior.draw_tile(stream), x)
    raise NonFiniteError("log p(y | x) at every draw of the prior")


def offers_density(problem: InverseProblem, smoothing: float) -> bool:
    """Whether the prior has a log density at the noise level ``smoothing``."""
    return ask(problem.prior, HasNoisedDensity if smoothing else HasDensity) is not None


def require_density(name: str, problem: InverseProblem) -> None:
    """Refuse a prior without a log density, for the sampler ``name``."""
    if not offers_density(problem, 0.0):
        raise PluginError(
            f"{name}: {type(problem.prior).__name__} has no log density here (atoms have none: use "
            "finite_sample_weights)"
        )


def log_density_gradient(
    problem: InverseProblem, x: Float[Tensor, "batch d"], smoothing: float
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch d"]]:
    """log p_h(x) + log p(y | x) and its gradient; p_h is the prior with noise of std h added."""
    level = NoiseLevel(1.0, smoothing)

    def log_density(u: Tensor) -> Tensor:
        return problem.prior.log_density(u, level) + problem.log_likelihood(u)

    value, pullback = value_and_pullback(log_density, x)
    return value, pullback(torch.ones_like(value))


def score_gradient(
    problem: InverseProblem,
    x: Float[Tensor, "batch d"],
    sigma: float,
    tempering: float | Float[Tensor, "batch 1"] = 1.0,
) -> Float[Tensor, "batch d"]:
    """grad log p_sigma(x) by the prior's score, plus ``tempering`` grad log p(y | x)."""
    value, pullback = value_and_pullback(problem.log_likelihood, x)
    likelihood = tempering * pullback(torch.ones_like(value))
    return problem.prior.score(x, NoiseLevel(1.0, sigma)) + likelihood
