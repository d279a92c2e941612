"""A population of particles on its way from the prior to the posterior.

N particles follow p_beta(x) proportional to p(x) p(y | x)^beta. A stage takes beta to the next
exponent (see `tempering`), copies particles by their weights, and moves them by Metropolis-adjusted
Langevin steps for the new law. All particles share one step size h, which follows their mean
acceptance, and one preconditioner M = F^-1 with the Fisher information of the new law,

    F = E_beta[g g^T],      g = grad log p_beta(x),

taken over the weighted particles. Since F = E_beta[-Hess log p_beta], it is set by the width of
the modes and not by their distance, as a covariance would be. Time h counts in units in which a
Gaussian relaxes by 1/e.

Reference: Titsias 2023, "Optimal preconditioning and Fisher adaptive Langevin sampling".
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.autodiff import value_and_pullback
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.core.streams import TILE, Stream
from mempost.methods.chains.langevin import langevin_proposal, log_ratio_back
from mempost.methods.chains.markov_chain import acceptance_probability
from mempost.methods.chains.tempering import next_exponent
from mempost.methods.chains.weights import log_mean, systematic

_NUMBERS = 2**18
"""Data or unknowns of the particles that are evaluated together."""
_GAIN = 2.0
"""Change of log h for an acceptance that is off by one."""


@dataclass(frozen=True, eq=False)
class TemperedPopulation:
    """Equally weighted particles of p_beta.

    Attributes:
        tensors: ``x`` (n, d), ``log_prior`` and ``log_likelihood`` (n,), their gradients
            ``prior_gradient`` and ``likelihood_gradient`` (n, d), ``origin`` (n,), the particle of
            the first population that each one descends from, and ``factor`` (d, d), L of M = L L^T.
        beta: the exponent.
        log_evidence: log of the estimate of int p(x) p(y | x)^beta dx.
        stage: exponents so far.
        moves: moves in this stage.
        time: accepted Langevin time in this stage, sum of h times mean acceptance.
        acceptance: mean acceptance of the last move.
        step_size: h of the next move.
    """

    tensors: dict[str, Tensor]
    beta: float
    log_evidence: float
    stage: int
    moves: int
    time: float
    acceptance: float
    step_size: float

    @classmethod
    def start(cls, problem: InverseProblem, n: int, stream: Stream) -> TemperedPopulation:
        """Draws of the prior; those at which something is not finite have no likelihood.

        Raises:
            NonFiniteError: there are no others.
        """
        x = torch.cat([problem.prior.draw_tile(stream) for _ in range(n // TILE)])
        d = problem.dimension
        found = _possible(_evaluate(problem, x))
        tensors = {**found, "origin": torch.arange(n, device=x.device)}
        return cls(tensors, 0.0, 0.0, 0, 0, math.inf, 0.0, d ** (-1 / 3))

    @property
    def values(self) -> dict[str, float]:
        """Everything but the tensors."""
        return {k: v for k, v in asdict(replace(self, tensors={})).items() if k != "tensors"}

    def temper(self, ess_share: float, stream: Stream) -> TemperedPopulation:
        """The population of the next exponent, copied by its weights and not moved yet."""
        beta = next_exponent(self.tensors["log_likelihood"], self.beta, ess_share)
        log_weights = (beta - self.beta) * self.tensors["log_likelihood"]
        weighted = log_weights.softmax(0)[:, None] * self._gradient(beta)
        factor = _inverse_factor(weighted.mT @ self._gradient(beta))
        ancestors = systematic(log_weights, stream)
        particles = {k: v[ancestors] for k, v in self.tensors.items() if k != "factor"}
        return replace(
            self,
            tensors={**particles, "factor": factor},
            beta=beta,
            log_evidence=self.log_evidence + log_mean(log_weights)[0],
            stage=self.stage + 1,
            moves=0,
            time=0.0,
        )

    def move(
        self, problem: InverseProblem, target_acceptance: float, stream: Stream
    ) -> TemperedPopulation:
        """One Langevin proposal for every particle, accepted or not."""
        old, factor = self.tensors, {"factor": self.tensors["factor"]}
        x, h, gradient = old["x"], self.step_size, self._gradient(self.beta)
        noise = stream.normal(tuple(x.shape), x.dtype, x.device)
        uniform = stream.uniform((len(x),), x.dtype, x.device)

        proposed = _evaluate(problem, langevin_proposal(x, gradient, factor, h, noise))
        slope = proposed["prior_gradient"] + self.beta * proposed["likelihood_gradient"]
        log_ratio = proposed["log_prior"] - old["log_prior"]
        log_ratio = log_ratio + self.beta * (proposed["log_likelihood"] - old["log_likelihood"])
        log_ratio = log_ratio + log_ratio_back(gradient, slope, factor, h, noise)
        acceptance = acceptance_probability(log_ratio, proposed["x"], slope)

        accepted = uniform < acceptance
        particles = {
            name: torch.where(accepted if value.ndim == 1 else accepted[:, None], value, old[name])
            for name, value in proposed.items()
        }
        mean = float(acceptance.double().mean())
        return replace(
            self,
            tensors={**old, **particles},
            moves=self.moves + 1,
            time=self.time + h * mean,
            acceptance=mean,
            step_size=h * math.exp(_GAIN * (mean - target_acceptance)),
        )

    def _gradient(self, beta: float) -> Float[Tensor, "n d"]:
        """grad log p_beta at the particles."""
        return self.tensors["prior_gradient"] + beta * self.tensors["likelihood_gradient"]


def _evaluate(problem: InverseProblem, x: Float[Tensor, "n d"]) -> dict[str, Tensor]:
    """Log prior and log likelihood at x, and their gradients."""
    rows = max(TILE, _NUMBERS // max(problem.data_dimension, problem.dimension))
    parts = [_evaluate_block(problem, block) for block in x.split(rows)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {"x": x, **found}


def _possible(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, with likelihood 0 and no slope where anything is not finite."""
    finite = torch.stack([torch.isfinite(v).reshape(len(v), -1).all(1) for v in found.values()])
    good = finite.all(0)
    if not good.any():
        for name, value in found.items():
            require_finite(value, name)
    slopes = {k: torch.where(good[:, None], v, 0) for k, v in found.items() if "gradient" in k}
    return {**found, **slopes, "log_likelihood": found["log_likelihood"].where(good, -math.inf)}


def _evaluate_block(problem: InverseProblem, x: Float[Tensor, "n d"]) -> dict[str, Tensor]:
    log_prior, of_prior = value_and_pullback(problem.prior.log_density, x)
    log_likelihood, of_likelihood = value_and_pullback(problem.log_likelihood, x)
    ones = torch.ones_like(log_prior)
    return {
        "log_prior": log_prior,
        "log_likelihood": log_likelihood,
        "prior_gradient": of_prior(ones),
        "likelihood_gradient": of_likelihood(ones),
    }


def _inverse_factor(F: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """L with L L^T = F^-1; directions without information get the rounding error of the most."""
    values, vectors = torch.linalg.eigh(F)
    floor = torch.finfo(F.dtype).eps * float(values[-1])
    return vectors / values.clamp(min=max(floor, torch.finfo(F.dtype).tiny)).sqrt()
