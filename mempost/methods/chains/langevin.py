"""Langevin dynamics with a preconditioner M = L L^T: what its chains and populations share.

    proposal     y = x + h M g(x) + sqrt(2 h) L n,      g = grad log p,   n ~ N(0, I)

is a step of Euler's method for dx = M g dt + sqrt(2) L dW. Written with the noise n* that would
lead back from y to x,

    n* = -(n + sqrt(h/2) L^T (g(x) + g(y))),     log q(x | y) - log q(y | x) = (|n|^2 - |n*|^2)/2,

so that no system with M is solved. By default h is a fifth of 1/lambda, with lambda the largest
eigenvalue of L^T H L and H a bound of the curvature (see `stiffness`): a tenth of what is stable.

Reference: Roberts & Tweedie 1996, "Exponential convergence of Langevin distributions and their
discrete approximations".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.iterative import SamplerState
from mempost.core.problem import InverseProblem
from mempost.methods.chains.markov_chain import MarkovChain
from mempost.methods.chains.preconditioner import IdentityMatrix, PreconditionerField
from mempost.methods.chains.stiffness import (
    data_curvature,
    first_guess,
    largest_eigenvalue,
    prior_curvature,
)

_RELATIVE_STEP = 0.2


class Langevin(MarkovChain):
    """What `ULA` and `MALA` share: drift, noise and preconditioner."""

    step_size: float | None = Field(
        None,
        gt=0,
        description="h, in the warm-up of mala its first value; by default 0.2 over the largest "
        "curvature where a chain stands",
    )
    smoothing: float = Field(
        0.0, ge=0, description="standard deviation of noise that is added to the prior"
    )
    preconditioner: PreconditionerField = Field(default_factory=IdentityMatrix)

    def factor(self, problem: InverseProblem, x: Tensor) -> dict[str, Tensor]:
        """The factor L of the preconditioner as part of a state; nothing for the identity."""
        L = self.preconditioner.factor(problem, x)
        return {} if L is None else {"factor": L}

    def step_sizes(
        self, problem: InverseProblem, x: Float[Tensor, "batch d"], factor: dict[str, Tensor]
    ) -> Float[Tensor, " batch"]:
        """h for chains at x."""
        if self.step_size is not None:
            return torch.full_like(x[:, 0], self.step_size)
        of_data = data_curvature(problem, x)
        of_prior = prior_curvature(problem.prior, x, self.smoothing)

        def curvature(w: Tensor) -> Tensor:
            v = apply(factor, w)
            return apply_transposed(factor, of_data(v) + of_prior(v))

        return _RELATIVE_STEP / largest_eigenvalue(curvature, first_guess(x))[0]

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


def langevin_proposal(
    x: Float[Tensor, "batch d"],
    gradient: Float[Tensor, "batch d"],
    factor: dict[str, Tensor],
    h: Tensor | float,
    noise: Float[Tensor, "batch d"],
) -> Float[Tensor, "batch d"]:
    """y = x + h M g(x) + sqrt(2h) L n, with steps h that broadcast against x."""
    h = torch.as_tensor(h).to(x)
    return x + apply(factor, h * apply_transposed(factor, gradient) + (2 * h).sqrt() * noise)


def log_ratio_back(
    gradient: Float[Tensor, "batch d"],
    proposed_gradient: Float[Tensor, "batch d"],
    factor: dict[str, Tensor],
    h: Tensor | float,
    noise: Float[Tensor, "batch d"],
) -> Float[Tensor, " batch"]:
    """log q(x | y) - log q(y | x) of `langevin_proposal`."""
    h = torch.as_tensor(h).to(noise)
    slopes = apply_transposed(factor, gradient) + apply_transposed(factor, proposed_gradient)
    back = noise + (h / 2).sqrt() * slopes
    return (noise**2 - back**2).sum(-1) / 2
