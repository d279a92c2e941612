"""The denoiser of another prior, averaged over perturbed states.

    D(z) = (1/M) sum_m D_0(z + a w e_m)

with M perturbations e_m that are drawn once, centred and scaled so that their mean is 0 and their
mean square 1 in every coordinate; w is their width in u = z/a. Because they are centred the score
is the mean of the base's scores, and a denoiser that is linear in z stays what it is.

The law. Over atoms, as sigma -> 0, D(u) is (1/M) sum_n k_n x_n with k_n the number of perturbed
states u + w e_m in the Voronoi cell of x_n, constant but for jumps. So from any start the flow ends
on a barycentre sum_n (k_n/M) x_n that meets its own counts, or on a jump: on x_n itself only where
the cell of x_n holds all x_n + w e_m. The score is not a bounded one: at small noise it still grows
like 1/sigma^2 around these ends. Draws follow the flow.

Reference: Scarvelis, Sáez de Ocáriz Borde & Solomon 2025, "Closed-form diffusion models".
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Self

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.composite import CompositePrior, Parts
from mempost.core.denoised import Denoised
from mempost.core.fields import PluginField
from mempost.core.flow import Denoise
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior, Prior, State
from mempost.core.streams import Streams
from mempost.methods.bibliography import SCARVELIS_2025_CLOSED
from mempost.methods.regularisation.flow_draws import FlowDraws
from mempost.methods.regularisation.over_base import OverBase


class FittedSmoothed(OverBase):
    """The prior with an averaged denoiser.

    Attributes:
        shifts: w e_m, (M, d).
    """

    def __init__(self, base: FittedPrior, draws: FlowDraws, shifts: Float[Tensor, "m d"]) -> None:
        super().__init__(base, draws)
        self.shifts, self.calls = shifts, len(shifts)

    def at(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> SmoothedDenoised:
        """E[x | z] with its derivatives, by those of the base."""
        return SmoothedDenoised(self, z, level)

    def around(self, z: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, NoiseLevel]:
        """The perturbed states (M * batch, d), perturbation by perturbation, and their level."""
        states = (z + a * self.shifts[:, None]).flatten(0, 1)
        a, s = ((x.repeat(self.calls, 1) if len(x) > 1 else x)[:, 0] for x in (a, s))
        return states, NoiseLevel(a, s)

    def average(self, x: Float[Tensor, "m_batch d"]) -> Float[Tensor, "batch d"]:
        """The mean over perturbations."""
        return x.unflatten(0, (self.calls, -1)).mean(0)

    def over(self, denoise: Denoise) -> Denoise:
        def averaged(z: Tensor, level: NoiseLevel) -> Tensor:
            return self.average(denoise(*self.around(z, *level.columns(z))))

        return averaged

    def _state(self) -> State:
        return State({"shifts": self.shifts}, {"draws": self.draws.model_dump(mode="json")})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        draws = FlowDraws.model_validate(state.values["draws"])
        return cls(state.values["base"], draws, state.tensors["shifts"])


class SmoothedDenoised(Denoised):
    """Means over perturbations of the base's denoiser and of its products."""

    prior: FittedSmoothed

    @cached_property
    def _of_base(self) -> Denoised:
        self.prior._called(self.z)
        return self.prior.base.at(*self.prior.around(self.z, self.a, self.s))

    @property
    def mean(self) -> Float[Tensor, "batch d"]:
        """(1/M) sum_m D_0(z + a w e_m)."""
        return self.prior.average(self._of_base.mean)

    def vjp(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """(1/M) sum_m J_0(z + a w e_m)^T v."""
        return self.prior.average(self._of_base.vjp(v.repeat(self.prior.calls, 1)))


class Smoothed(CompositePrior):
    """The denoiser of another prior, averaged over fixed perturbations of the state.

    Over atoms its flow ends on barycentres of neighbouring examples instead of on examples.
    """

    tags = frozenset({"closed_form", "random"})
    publications = (SCARVELIS_2025_CLOSED,)
    fitted_class: ClassVar[type[FittedPrior]] = FittedSmoothed

    base: Annotated[Prior, PluginField("prior")] = Field(
        description="the prior that is smoothed",
        examples=[{"type": "empirical_gmm", "bandwidth": 0.0}],
    )
    width: float = Field(0.3, gt=0, description="w, the standard deviation of a perturbation")
    perturbations: int = Field(16, ge=2, description="M, calls of the base for one", examples=[4])
    draws: FlowDraws = Field(default_factory=FlowDraws, description="flow that draws follow")

    def _compose(self, parts: Parts, x: Tensor | None, streams: Streams) -> FittedPrior:
        base = parts["base"]
        e = streams.branch(1).at().normal((self.perturbations, base.dimension))
        e = e - e.mean(0)
        shifts = self.width * e / e.square().mean(0).sqrt()
        return FittedSmoothed(base, self.draws, shifts.to(base.device, base.dtype))
