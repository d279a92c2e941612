"""The score of another prior with weights that fade where no example is near.

With the unnormalised kernels N_n(u) = exp(-|u - x_n|^2 / (2 sigma^2)) of u = z/a and sigma = s/a,
the weights of an empirical score are N_n/max(sum_m N_m, tau), so that

    S = sum_n w_n (x_n - u)/sigma^2,        D(u) = u + rho (D_0(u) - u),  rho = min(1, kappa/tau),

with kappa = sum_n N_n. Far from all examples the score vanishes instead of pointing at the nearest
one. In terms of the base's density at the level,

    kappa(u) = N (2 pi sigma^2)^(d/2) p_sigma(u),

which is how any base with a density is asked (N its number of examples; 1 where it has none).

The law. Along the exact flow kappa falls, d log kappa / ds = -tr Cov_w[x]/sigma^2 with
s = -log sigma, to exp(-R^2/2), R the limit of |u - x_n|/sigma. So a path goes on to its example if
exp(-R^2/2) > tau, and else stops where kappa has become tau or soon after, since R grows where
weights fade. From the noised training set R^2 is chi^2_d: the share that ends on an example is
P(chi^2_d < 2 log(1/tau)), 1 - tau in the plane, for tau < 1. Paths with R just above the threshold
leave it slowly, and stop so near the example that a large tolerance counts them too. Draws follow
the flow.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models" (regularisation by asymptotic consistency).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, ClassVar, Self

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.capabilities import (
    HasExamples,
    HasLimitLaw,
    HasNoisedDensity,
    Withheld,
    ask,
    require,
)
from mempost.core.composite import CompositePrior, Parts
from mempost.core.denoised import Denoised
from mempost.core.fields import PluginField
from mempost.core.flow import Denoise
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior, Prior, State
from mempost.core.streams import Streams
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.regularisation.flow_draws import FlowDraws
from mempost.methods.regularisation.over_base import OverBase, is_atoms
from mempost.methods.statistics.chi_squared import chi_squared_below


class FittedEmpiricalBayes(OverBase):
    """The prior with fading weights.

    Attributes:
        tau: kernels that are in sight where the score is that of the base.
    """

    def __init__(self, base: FittedPrior, draws: FlowDraws, tau: float) -> None:
        super().__init__(base, draws)
        self.tau = tau
        require(
            base, HasNoisedDensity, "empirical_bayes", "take a base with a density, such as atoms"
        )
        kept = ask(base, HasExamples)
        self._count = 1 if kept is None else len(kept.examples.x)

    def limit_law(self, tolerance: float) -> float:
        """P(chi^2_d < 2 log(1/tau)), whatever the tolerance; 0 for tau >= 1."""
        return chi_squared_below(2 * math.log(1 / self.tau), self.dimension)

    @property
    def withheld(self) -> Withheld:
        if is_atoms(self.base):
            return super().withheld
        return {**super().withheld, HasLimitLaw: "it is known over atoms"}

    def at(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> FadingDenoised:
        """E[x | z] with its derivatives, by those of the base."""
        return FadingDenoised(self, z, level)

    def fraction(self, z: Tensor, a: Tensor, s: Tensor) -> Float[Tensor, "batch 1"]:
        """rho = min(1, kappa/tau)."""
        known = require(self.base, HasNoisedDensity, "empirical_bayes")
        log_p = known.log_density(z, NoiseLevel(a[:, 0], s[:, 0]))[:, None]
        kernel = self.dimension * (s.log() + 0.5 * math.log(2 * math.pi))
        return (log_p + kernel + math.log(self._count / self.tau)).clamp(max=0).exp()

    def over(self, denoise: Denoise) -> Denoise:
        def faded(z: Tensor, level: NoiseLevel) -> Tensor:
            a, s = level.columns(z)
            u = z / a
            return u + self.fraction(z, a, s) * (denoise(z, level) - u)

        return faded

    def _state(self) -> State:
        return State({}, {"tau": self.tau, "draws": self.draws.model_dump(mode="json")})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        values = state.values
        return cls(values["base"], FlowDraws.model_validate(values["draws"]), values["tau"])


class FadingDenoised(Denoised):
    """D = u + rho (D_0 - u); where rho < 1 its gradient is rho grad log p."""

    prior: FittedEmpiricalBayes

    @cached_property
    def _of_base(self) -> tuple[Denoised, Tensor]:
        self.prior._called(self.z)
        return self.prior.base.at(self.z, self.level), self.prior.fraction(self.z, self.a, self.s)

    @property
    def mean(self) -> Float[Tensor, "batch d"]:
        """u + rho (D_0 - u)."""
        base, rho = self._of_base
        u = self.z / self.a
        return u + rho * (base.mean - u)

    def vjp(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """v/a + rho (J_0^T - I/a) v + grad rho (D_0 - u) . v."""
        base, rho = self._of_base
        slope = rho * base.score * (rho < 1)
        along = ((base.mean - self.z / self.a) * v).sum(-1, keepdim=True)
        return (1 - rho) * v / self.a + base.vjp(rho * v) + slope * along


class EmpiricalBayes(CompositePrior):
    """The score of another prior, faded by min(1, kernels in sight / tau): empirical Bayes.

    A share P(chi^2_d < 2 log(1/tau)) of the flow from the noised prior ends on examples; the rest
    stops on the way.
    """

    tags = frozenset({"closed_form"})
    publications = (BAPTISTA_2025_MEMORIZATION,)
    fitted_class: ClassVar[type[FittedPrior]] = FittedEmpiricalBayes

    base: Annotated[Prior, PluginField("prior")] = Field(
        description="the prior that fades; it has a density at every noise level",
        examples=[{"type": "empirical_gmm", "bandwidth": 0.0}],
    )
    tau: float = Field(0.1, gt=0, description="kernels in sight below which the score fades")
    draws: FlowDraws = Field(default_factory=FlowDraws, description="flow that draws follow")

    def _compose(self, parts: Parts, x: Tensor | None, streams: Streams) -> FittedPrior:
        return FittedEmpiricalBayes(parts["base"], self.draws, self.tau)
