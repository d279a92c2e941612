"""The unadjusted Langevin algorithm.

    x_{k+1} = x_k + h M grad log p(x_k | y) + sqrt(2 h) L n_k,      M = L L^T

is Euler's method for Langevin dynamics. Its invariant law differs from the posterior by O(h): for
a Gaussian posterior with precision Lambda the variance along an eigenvector of L^T Lambda L with
eigenvalue lambda is too large by the factor 1/(1 - h lambda/2); the chain diverges for
h lambda > 2.

With ``smoothing`` b the prior is that of x + b e, which has a score even where p(x) is made of
atoms or is known by its denoiser alone.

Reference: Roberts & Tweedie 1996, "Exponential convergence of Langevin distributions and their
discrete approximations".
"""

from __future__ import annotations

import math

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.iterative import SamplerState
from mempost.core.problem import InverseProblem
from mempost.core.streams import Stream
from mempost.plugins.bibliography import ROBERTS_1996_LANGEVIN
from mempost.plugins.samplers.markov_chain import (
    MarkovChain,
    log_density_gradient,
    offers_density,
    score_gradient,
)
from mempost.plugins.samplers.preconditioner import IdentityMatrix, PreconditionerField


class Langevin(MarkovChain):
    """What `ULA` and `MALA` share: drift, noise and preconditioner."""

    step_size: float = Field(0.01, gt=0, description="h; in the warm-up of mala its first value")
    smoothing: float = Field(
        0.0, ge=0, description="standard deviation of noise that is added to the prior"
    )
    preconditioner: PreconditionerField = Field(default_factory=IdentityMatrix)

    def factor(self, problem: InverseProblem, x: Tensor) -> dict[str, Tensor]:
        """The factor L of the preconditioner as part of a state; nothing for the identity."""
        L = self.preconditioner.factor(problem, x)
        return {} if L is None else {"factor": L}

    def factor_at(self, problem: InverseProblem, state: SamplerState, k: int) -> dict[str, Tensor]:
        """The factor before step k: refreshed half-way through the warm-up if it follows chains."""
        if self.preconditioner.follows_chain and k == self.warmup // 2 > 0:
            return self.factor(problem, state["x"])
        return {"factor": state["factor"]} if "factor" in state else {}


def apply(factor: dict[str, Tensor], v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
    """L v."""
    return (factor["factor"] @ v[..., None])[..., 0] if factor else v


def apply_transposed(
    factor: dict[str, Tensor], v: Float[Tensor, "batch d"]
) -> Float[Tensor, "batch d"]:
    """L^T v."""
    return (factor["factor"].mT @ v[..., None])[..., 0] if factor else v


class ULA(Langevin):
    """Unadjusted Langevin: Euler steps of Langevin dynamics, with a bias of first order in h.

    Noise level: used. Assumes: a differentiable operator, and a prior with a log density, or any
    prior with ``smoothing`` > 0. Cost of a step: one forward map, one pullback, and one gradient of
    the log density (or one denoiser call, where the prior has no density). Statistic
    ``log_density`` where there is one, up to the evidence.
    """

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    publications = (ROBERTS_1996_LANGEVIN,)

    def check(self, problem: InverseProblem) -> None:
        if self.smoothing == 0 and not offers_density(problem, 0.0):
            raise PluginError(
                f"ula: {type(problem.prior).__name__} has no log density here; smoothing > 0 "
                "takes the score of the prior at that noise level"
            )

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        self.check(problem)
        x = problem.prior.draw_tile(stream)
        with_density = offers_density(problem, self.smoothing)
        return {**self._at(problem, x, with_density), **self.factor(problem, x)}

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        x, h = state["x"], self.step_size
        factor = self.factor_at(problem, state, k)
        noise = stream.normal(tuple(x.shape), x.dtype, x.device)
        drift = apply_transposed(factor, state["gradient"])
        x = x + apply(factor, h * drift + math.sqrt(2 * h) * noise)
        return {**self._at(problem, x, "log_density" in state), **factor}

    def draw(
        self, problem: InverseProblem, state: SamplerState
    ) -> tuple[Float[Tensor, "batch d"], dict[str, Tensor]]:
        return state["x"], {n: state[n] for n in ("log_density",) if n in state}

    def _at(self, problem: InverseProblem, x: Tensor, with_density: bool) -> dict[str, Tensor]:
        if with_density:
            value, gradient = log_density_gradient(problem, x, self.smoothing)
            return {"x": x, "gradient": gradient, "log_density": value}
        return {"x": x, "gradient": score_gradient(problem, x, self.smoothing)}
