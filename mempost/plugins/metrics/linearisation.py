"""How far a linearised mixture can be trusted: what F does beyond its tangent, in nats.

Component n is linearised at p_n, with whitened residual r_n and Jacobian A_n. Elsewhere the tangent
says r_n - A_n (x - p_n), and F departs from it by

    delta(x) = r(x) - r_n + A_n (x - p_n),

of second order in x - p_n. Its square |delta|^2 / 2 is in nats: what the log-likelihood loses where
the tangent fits the data. Averages are over draws of the component *a posteriori*, which is where
the mixture claims its mass, and *a priori*, where it claims to know F. The latter grows as the
fourth power of the bandwidth. A third number is the error of the log-likelihood itself,
||r|^2 - |r - delta|^2| / 2 over the posterior, which holds what delta shares with the residual.

Lastly the misfit |r|^2 / 2 falls from the component's mean x_n to its posterior mean mu_n, by less
than the tangent promises where F bends: the ratio of the two is 1 for a linear F.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.capabilities import HasComponents, HasTangents, ask, require
from mempost.core.errors import MempostError
from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.problem import InverseProblem
from mempost.core.result import Result
from mempost.core.streams import Stream


class Linearisation(Metric):
    """Departure of F from its tangents at the dominant components of a linearised mixture, in nats.

    Columns ``linearisation_residual`` and ``linearisation_residual_prior`` (|delta|^2 / 2 averaged
    over draws of the posterior and of the prior), ``linearisation_error`` (of the log-likelihood,
    over draws of the posterior), ``misfit_ratio`` (actual over predicted change of the misfit from
    x_n to mu_n, of the heaviest component) and, where points of linearisation were searched for,
    ``unconverged_mass``. Not a number where F is not defined at a draw. Nothing for other samplers
    and linear operators.
    """

    components: int = Field(3, ge=1, description="looked at, the heaviest ones")
    draws: int = Field(16, ge=1, description="of each")
    tolerance: float = Field(
        1.0, gt=0, description="nats; linearisation fails where the departure is larger"
    )

    def evaluate(self, result: Result) -> Measured:
        posterior, problem = ask(result.posterior, HasTangents), result.problem
        if posterior is None or problem.operator.is_linear:
            return Measured()
        most = min(self.components, len(posterior.weights))
        weights, index = posterior.weights.topk(most)
        weights = weights / weights.sum()
        tangents = _Tangents(problem, posterior, index)
        stream = result.streams.at()
        drawn = tangents.departure(tangents.posterior_draws(self.draws, stream))
        prior = tangents.departure(tangents.prior_draws(self.draws, stream))
        found = {
            "linearisation_residual": float(weights @ drawn.residual),
            "linearisation_residual_prior": float(weights @ prior.residual),
            "linearisation_error": float(weights @ drawn.error),
            "misfit_ratio": tangents.misfit_ratio(),
        }
        if not torch.equal(posterior.points, tangents.prior.means):
            found["unconverged_mass"] = float(posterior.weights[~posterior.converged].sum())
        return Measured(found)

    def verdict(self, results: Sequence[Result]) -> list[str]:
        return [
            sentence(result, self.tolerance)
            for result in results
            if "linearisation_residual" in result.measured
        ]


def sentence(result: Result, tolerance: float) -> str:
    """What was measured says of one result."""
    measured = result.measured
    where = ", ".join(f"{p.rpartition('.')[2]} = {v}" for p, v in result.point.items())
    start = f"{where + ': ' if where else ''}linearisation"
    actual = float(measured["linearisation_residual"])
    claimed = float(measured["linearisation_residual_prior"])
    found = (
        f"F departs from its tangent by {_nats(actual)} over the posterior and by "
        f"{_nats(claimed)} over the prior of the heaviest components"
    )
    ratio = float(measured["misfit_ratio"])
    if math.isfinite(ratio):
        found += f", and the misfit falls by {ratio:.3g} of what it promises"
    unconverged = float(measured.get("unconverged_mass", 0.0))
    if unconverged > 0.01:
        found += f"; {unconverged:.0%} of the mass is where the search did not end"
    if not actual <= tolerance:
        return f"{start} fails for {result.key}: {found} ({tolerance:g} is allowed)."
    if not claimed <= tolerance:
        return f"{start} holds for {result.key} where the posterior is, not beyond: {found}."
    return f"{start} holds for {result.key}: {found}."


def _nats(value: float) -> str:
    return f"{value:.2g} nats" if math.isfinite(value) else "an unknown amount (F is undefined)"


class _Departure:
    """|delta|^2 / 2 and the error of the log-likelihood, averaged over draws, by component."""

    def __init__(self, actual: Float[Tensor, "k c m"], predicted: Float[Tensor, "k c m"]) -> None:
        self.residual = (actual - predicted).square().sum(-1).mean(1) / 2
        errors = (actual.square() - predicted.square()).sum(-1).abs() / 2
        self.error = errors.mean(1)


class _Tangents:
    """Tangents of F at the points of linearisation of some components."""

    def __init__(self, problem: InverseProblem, posterior: HasTangents, index: Tensor) -> None:
        self.problem, self.posterior, self.index = problem, posterior, index
        self.prior = require(problem.prior, HasComponents, "linearisation")
        self.points = posterior.points[index]
        self.r, self.a = self.problem.linearise(self.points)

    def posterior_draws(self, count: int, stream: Stream) -> Float[Tensor, "k c d"]:
        return self.posterior.component_draws(self.index, count, stream)

    def prior_draws(self, count: int, stream: Stream) -> Float[Tensor, "k c d"]:
        prior = self.prior
        shape = (len(self.index), prior.dimension, count)
        e = stream.normal(shape, prior.dtype, prior.device)
        return prior.means[self.index, None] + prior.factor_product(self.index, e).mT

    def predicted(self, x: Float[Tensor, "k c d"]) -> Float[Tensor, "k c m"]:
        """Residuals on the tangents."""
        return self.r[:, None] - (x - self.points[:, None]) @ self.a.mT

    def departure(self, x: Float[Tensor, "k c d"]) -> _Departure:
        actual = torch.stack([residuals(self.problem, draws) for draws in x])
        return _Departure(actual, self.predicted(x))

    def misfit_ratio(self) -> float:
        """Actual over predicted change of the misfit from x_n to mu_n, first component."""
        pair = torch.stack(
            [self.prior.means[self.index], self.posterior.component_means[self.index]], 1
        )
        before, after = residuals(self.problem, pair[0]).square().sum(-1)
        told_before, told_after = self.predicted(pair)[0].square().sum(-1)
        promised = float(told_before - told_after)
        return float(before - after) / promised if promised != 0 else math.nan


def residuals(problem: InverseProblem, x: Float[Tensor, "c d"]) -> Float[Tensor, "c m"]:
    """Whitened residuals; not a number where F refuses a model."""
    try:
        return problem.whitened_residual(x)
    except MempostError:
        if len(x) == 1:
            return x.new_full((1, problem.data_dimension), torch.nan)
        return torch.cat([residuals(problem, row[None]) for row in x])
