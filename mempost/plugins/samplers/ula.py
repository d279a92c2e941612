"""The unadjusted Langevin algorithm.

    x_{k+1} = x_k + h M grad log p(x_k | y) + sqrt(2 h) L n_k,      M = L L^T

is Euler's method for Langevin dynamics. Its invariant law differs from the posterior by O(h): for
a Gaussian posterior with precision Lambda the variance along an eigenvector of L^T Lambda L with
eigenvalue lambda is too large by the factor 1/(1 - h lambda/2); the chain diverges for
h lambda > 2. By default h is 0.2/lambda for the largest lambda where the chain stands, taken at its
start and once more half-way through the warm-up: draws are 5 % too wide in the stiffest direction,
and others relax in 5 times the ratio of the curvatures. Where that is many steps, take
``preconditioner: gauss_newton``.

With ``smoothing`` b the prior is that of x + b e, which has a score even where p(x) is made of
atoms or is known by its denoiser alone.

Reference: Roberts & Tweedie 1996, "Exponential convergence of Langevin distributions and their
discrete approximations".
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.iterative import SamplerState
from mempost.core.problem import InverseProblem
from mempost.core.streams import Stream
from mempost.methods.bibliography import ROBERTS_1996_LANGEVIN
from mempost.methods.chains.langevin import Langevin, langevin_proposal
from mempost.methods.chains.markov_chain import (
    log_density_gradient,
    offers_density,
    possible_start,
    score_gradient,
)


class ULA(Langevin):
    """Unadjusted Langevin: Euler steps of Langevin dynamics, with a bias of first order in h.

    Noise level: used. Assumes: a differentiable operator, and a prior with a log density, or any
    prior with ``smoothing`` > 0. Cost of a step: one forward map, one pullback, and one gradient of
    the log density (or one denoiser call, where the prior has no density). Statistic
    ``log_density`` where there is one, up to the evidence.
    """

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    publications = (ROBERTS_1996_LANGEVIN,)
    remedy = "take a smaller step_size, or mala, which rejects steps that are too long"

    def check(self, problem: InverseProblem) -> None:
        self.preconditioner.check(problem)
        if self.smoothing == 0 and not offers_density(problem, 0.0):
            raise PluginError(
                f"ula: {type(problem.prior).__name__} has no log density here; smoothing > 0 "
                "takes the score of the prior at that noise level"
            )

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        self.check(problem)
        x = possible_start(problem, stream)
        with_density = offers_density(problem, self.smoothing)
        factor = self.factor(problem, x)
        step_size = self.step_sizes(problem, x, factor)
        return {**self._at(problem, x, with_density), "step_size": step_size, **factor}

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        x, factor = state["x"], self.factor_at(problem, state, k)
        half_way = k == self.warmup // 2 > 0
        h = self.step_sizes(problem, x, factor) if half_way else state["step_size"]
        noise = stream.normal(tuple(x.shape), x.dtype, x.device)
        x = langevin_proposal(x, state["gradient"], factor, h[:, None], noise)
        return {**self._at(problem, x, "log_density" in state), "step_size": h, **factor}

    def draw(
        self, problem: InverseProblem, state: SamplerState
    ) -> tuple[Float[Tensor, "batch d"], dict[str, Tensor]]:
        return state["x"], {n: state[n] for n in ("log_density",) if n in state}

    def _at(self, problem: InverseProblem, x: Tensor, with_density: bool) -> dict[str, Tensor]:
        if with_density:
            value, gradient = log_density_gradient(problem, x, self.smoothing)
            return {"x": x, "gradient": gradient, "log_density": value}
        return {"x": x, "gradient": score_gradient(problem, x, self.smoothing)}
