"""The preconditioned Crank-Nicolson algorithm, for Gaussian priors.

    proposal     y = m + sqrt(1 - beta^2) (x - m) + beta w,      w ~ N(0, C)
    accepted     with probability min(1, p(data | y)/p(data | x)), never if not finite

for the prior N(m, C). The proposal is reversible for the prior, so the likelihood alone decides,
and the acceptance does not fall with the dimension: the method is defined in function space.

Reference: Cotter, Roberts, Stuart & White 2013, "MCMC methods for functions: modifying old
algorithms to make them faster".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.capabilities import HasComponents, HasDensity, ask, require
from mempost.core.errors import PluginError
from mempost.core.iterative import SamplerState
from mempost.core.problem import InverseProblem
from mempost.core.streams import Stream
from mempost.methods.bibliography import COTTER_2013_MCMC
from mempost.methods.chains.markov_chain import (
    MarkovChain,
    acceptance_probability,
    possible_start,
)


class PCN(MarkovChain):
    """Preconditioned Crank-Nicolson: chains for Gaussian priors, without gradients.

    Exact as `MALA` is: the invariant law is the posterior, the error that of correlated draws.

    Noise level: used. Assumes: a Gaussian prior (others are refused) and any operator. Cost of a
    step: one forward map. Statistics: ``log_density`` up to the evidence, ``acceptance`` (the
    probability of the last proposal) and ``step_size`` (beta).
    """

    tags = frozenset({"exact", "uses_noise_level"})
    publications = (COTTER_2013_MCMC,)

    beta: float = Field(0.2, gt=0, le=1, description="step size; in the warm-up its first value")
    target_acceptance: float = Field(0.25, gt=0, lt=1)

    def check(self, problem: InverseProblem) -> None:
        count = len(_mixture(problem).weights)
        if count != 1:
            raise PluginError(
                f"pcn is for Gaussian priors, found a mixture of {count}; mala and smc take others"
            )
        if ask(problem.prior, HasDensity) is None:
            raise PluginError(
                "pcn is for Gaussian priors, found a single atom; finite_sample_weights takes atoms"
            )

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        self.check(problem)
        x = possible_start(problem, stream)
        value = problem.log_likelihood(x)
        return {
            "x": x,
            "log_likelihood": value,
            "step_size": torch.full_like(value, self.beta),
            "acceptance": torch.zeros_like(value),
        }

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        prior = _mixture(problem)
        x, beta, mean = state["x"], state["step_size"][:, None], prior.means
        noise = stream.normal((*x.shape, 1), x.dtype, x.device)
        uniform = stream.uniform((len(x),), x.dtype, x.device)

        component = torch.zeros(len(x), dtype=torch.long, device=x.device)
        w = prior.factor_product(component, noise)[..., 0]
        proposal = mean + (1 - beta**2).sqrt() * (x - mean) + beta * w
        value = problem.log_likelihood(proposal)
        log_ratio = value - state["log_likelihood"]
        acceptance = acceptance_probability(log_ratio, proposal)

        accepted = uniform < acceptance
        beta = self.adapt(state["step_size"], acceptance, k, self.target_acceptance)
        return {
            "x": torch.where(accepted[:, None], proposal, x),
            "log_likelihood": torch.where(accepted, value, state["log_likelihood"]),
            "step_size": beta.clamp(max=1),
            "acceptance": acceptance,
        }

    def draw(
        self, problem: InverseProblem, state: SamplerState
    ) -> tuple[Float[Tensor, "batch d"], dict[str, Tensor]]:
        stats = {name: state[name] for name in ("acceptance", "step_size")}
        density = state["log_likelihood"] + problem.prior.log_density(state["x"])
        return state["x"], {"log_density": density, **stats}


def _mixture(problem: InverseProblem) -> HasComponents:
    return require(problem.prior, HasComponents, "pcn", "it is for Gaussian priors")
