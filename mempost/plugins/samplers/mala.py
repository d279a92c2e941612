"""The Metropolis-adjusted Langevin algorithm.

    proposal     y = x + h M g(x) + sqrt(2 h) L n,      g = grad log p(. | y),  M = L L^T
    accepted     with probability min(1, p(y) q(x | y) / (p(x) q(y | x))), never if not finite

Every chain accepts on its own and adapts its own h in the warm-up.

References: Roberts & Tweedie 1996; Roberts & Rosenthal 1998, "Optimal scaling of discrete
approximations to Langevin diffusions" (acceptance 0.574).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.iterative import SamplerState
from mempost.core.problem import InverseProblem
from mempost.core.streams import Stream
from mempost.core.tags import Tag
from mempost.methods.bibliography import ROBERTS_1996_LANGEVIN, ROBERTS_1998_SCALING
from mempost.methods.chains.langevin import Langevin, langevin_proposal, log_ratio_back
from mempost.methods.chains.markov_chain import (
    acceptance_probability,
    log_density_gradient,
    offers_density,
    possible_start,
)


class MALA(Langevin):
    """Metropolis-adjusted Langevin: chains whose invariant law is the posterior.

    Exact in this sense: every chain leaves the posterior invariant once its warm-up has ended. What
    remains is the Monte-Carlo error of correlated draws, and a chain cannot be trusted to find
    separated modes: see R-hat and the effective sample size. With ``smoothing`` the posterior is
    that of the smoothed prior.

    Noise level: used. Assumes: a differentiable operator and a prior with a log density. Cost of a
    step: one forward map, one pullback, one gradient of the log density. Statistics:
    ``log_density`` up to the evidence, ``acceptance`` (the probability of the last proposal) and
    ``step_size``.
    """

    tags = frozenset({"exact", "uses_noise_level", "needs_gradient"})
    publications = (ROBERTS_1996_LANGEVIN, ROBERTS_1998_SCALING)

    target_acceptance: float = Field(0.574, gt=0, lt=1)

    def _tags(self) -> frozenset[Tag]:
        """With smoothing the chains leave another posterior invariant."""
        return super()._tags() - ({"exact"} if self.smoothing > 0 else set())

    def check(self, problem: InverseProblem) -> None:
        self.preconditioner.check(problem)
        if not offers_density(problem, self.smoothing):
            raise PluginError(
                f"mala: {type(problem.prior).__name__} has no log density at smoothing = "
                f"{self.smoothing:g}; atoms have one with smoothing > 0, and ula needs none"
            )

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        x = possible_start(problem, stream)
        value, gradient = log_density_gradient(problem, x, self.smoothing)
        factor = self.factor(problem, x)
        return {
            "x": x,
            "log_density": value,
            "gradient": gradient,
            "step_size": self.step_sizes(problem, x, factor),
            "acceptance": torch.zeros_like(value),
            **factor,
        }

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        x, h = state["x"], state["step_size"][:, None]
        factor = self.factor_at(problem, state, k)
        noise = stream.normal(tuple(x.shape), x.dtype, x.device)
        uniform = stream.uniform((len(x),), x.dtype, x.device)

        proposal = langevin_proposal(x, state["gradient"], factor, h, noise)
        value, gradient = log_density_gradient(problem, proposal, self.smoothing)
        log_ratio = value - state["log_density"]
        log_ratio = log_ratio + log_ratio_back(state["gradient"], gradient, factor, h, noise)
        acceptance = acceptance_probability(log_ratio, proposal, gradient)

        accepted = uniform < acceptance
        rows = accepted[:, None]
        return {
            "x": torch.where(rows, proposal, x),
            "log_density": torch.where(accepted, value, state["log_density"]),
            "gradient": torch.where(rows, gradient, state["gradient"]),
            "step_size": self.adapt(state["step_size"], acceptance, k, self.target_acceptance),
            "acceptance": acceptance,
            **factor,
        }

    def draw(
        self, problem: InverseProblem, state: SamplerState
    ) -> tuple[Float[Tensor, "batch d"], dict[str, Tensor]]:
        return state["x"], {n: state[n] for n in ("log_density", "acceptance", "step_size")}
