"""The score of another prior, regularised by Tikhonov.

In u = z/a and sigma = s/a, the score (D_0 - u)/sigma^2 of the base becomes (D_0 - u)/(sigma^2 + c),
with the base's own weights, so that the denoiser is

    D(u) = (c u + sigma^2 D_0(u)) / (sigma^2 + c).

c is a number, depends on sigma (see `mempost.methods.regularisation.strength`), or is c/lambda_k
along the k-th eigenvector of the covariance of the training set, which regularises fine scales
first.

The law. Over atoms, from their noised law at a level that is large against their distances, the
flow ends on x_n + h e, a kernel of bandwidth h = sqrt(c) on every example (sqrt(c/lambda_k) by
direction), as long as h is small against the distances of examples: it samples a kernel density,
and a share P(chi^2_d < tol^2/h^2) of its ends lies within tol of an example. Pure noise is such a
start up to an error of the size (spread of the data)/sigma_max, which shows in many dimensions
first. The score at sigma = 0 is not that of the kernel density but (x_nearest - u)/c, so Langevin
steps under it sample exp(-dist^2/2c) and not what the flow samples. Draws are those of the law over
atoms; over other bases they follow the flow.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models" (equations 5.3 and 5.7).
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.capabilities import HasLimitLaw, Withheld
from mempost.core.composite import CompositePrior, Parts
from mempost.core.denoised import Denoised
from mempost.core.errors import PluginError
from mempost.core.fields import PluginField
from mempost.core.flow import Denoise
from mempost.core.level import NoiseLevel
from mempost.core.prior import FittedPrior, Prior, State
from mempost.core.streams import Stream, Streams
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.regularisation.flow_draws import FlowDraws
from mempost.methods.regularisation.over_base import OverBase, is_atoms
from mempost.methods.regularisation.strength import (
    Strength,
    StrengthField,
    restored,
    stored,
    strength_of,
)
from mempost.methods.statistics.chi_squared import within


class FittedTikhonov(OverBase):
    """The regularised prior.

    Attributes:
        strength: c as a function of sigma.
        basis: eigenvectors of the data covariance in columns (d, d), or None: one c for all.
        factors: 1/lambda_k, (d,).
    """

    def __init__(
        self,
        base: FittedPrior,
        draws: FlowDraws,
        strength: Strength,
        basis: Tensor | None = None,
        factors: Tensor | None = None,
    ) -> None:
        super().__init__(base, draws)
        self.strength, self.basis = strength, basis
        self.factors = base.coordinates.location.new_ones(1) if factors is None else factors

    @property
    def spread(self) -> Float[Tensor, " k"]:
        """Standard deviations h of the law about an example, by direction; one if they agree."""
        return self.factors.new_tensor([self.strength.spread(f) for f in self.factors.tolist()])

    def limit_law(self, tolerance: float) -> float:
        """P(chi^2_d < tol^2/h^2)."""
        return within(tolerance, float(self.spread), self.dimension)

    @property
    def withheld(self) -> Withheld:
        if not is_atoms(self.base):
            return {**super().withheld, HasLimitLaw: "it is known over atoms"}
        if self.basis is not None:
            return {**super().withheld, HasLimitLaw: "it is known for one c in all directions"}
        return super().withheld

    def at(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> TikhonovDenoised:
        """E[x | z] with its derivatives, by those of the base."""
        return TikhonovDenoised(self, z, level)

    def pull(self, v: Float[Tensor, "batch d"], a: Tensor, s: Tensor) -> Float[Tensor, "batch d"]:
        """sigma^2/(sigma^2 + c) v, by direction."""
        sigma = s / a
        share = sigma**2 / (sigma**2 + self.strength.at(sigma) * self.factors)
        return share * v if self.basis is None else (share * (v @ self.basis)) @ self.basis.T

    def over(self, denoise: Denoise) -> Denoise:
        def regularised(z: Tensor, level: NoiseLevel) -> Tensor:
            a, s = level.columns(z)
            u = z / a
            return u + self.pull(denoise(z, level) - u, a, s)

        return regularised

    @property
    def draw_calls(self) -> int:
        return 0 if is_atoms(self.base) else super().draw_calls

    def _draw(self, stream: Stream) -> Tensor:
        if not is_atoms(self.base):
            return super()._draw(stream)
        atoms = self.base.draw_tile(stream)
        e = self.spread * stream.normal(tuple(atoms.shape), self.dtype, self.device)
        return atoms + (e if self.basis is None else e @ self.basis.T)

    def _state(self) -> State:
        tensors = {} if self.basis is None else {"basis": self.basis, "factors": self.factors}
        draws = self.draws.model_dump(mode="json")
        return State(tensors, {"strength": stored(self.strength), "draws": draws})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        tensors, values = state
        return cls(
            values["base"],
            FlowDraws.model_validate(values["draws"]),
            restored(values["strength"]),
            tensors.get("basis"),
            tensors.get("factors"),
        )


class TikhonovDenoised(Denoised):
    """D = u + G (D_0 - u) with the symmetric G of `FittedTikhonov.pull`."""

    prior: FittedTikhonov

    @cached_property
    def _of_base(self) -> Denoised:
        self.prior._called(self.z)
        return self.prior.base.at(self.z, self.level)

    @property
    def mean(self) -> Float[Tensor, "batch d"]:
        """u + G (D_0 - u)."""
        u = self.z / self.a
        return u + self.prior.pull(self._of_base.mean - u, self.a, self.s)

    def vjp(self, v: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """v/a + (J_0^T - I/a) G v."""
        pulled = self.prior.pull(v, self.a, self.s)
        return (v - pulled) / self.a + self._of_base.vjp(pulled)


class Tikhonov(CompositePrior):
    """The score of another prior over sigma^2 + c in place of sigma^2: bounded at small noise.

    Its flow ends near the examples as N(x_n, c) while these are many sqrt(c) apart: a kernel
    density.
    """

    tags = frozenset({"closed_form"})
    publications = (BAPTISTA_2025_MEMORIZATION,)
    fitted_class: ClassVar[type[FittedPrior]] = FittedTikhonov

    base: Annotated[Prior, PluginField("prior")] = Field(
        description="the prior that is regularised",
        examples=[{"type": "empirical_gmm", "bandwidth": 0.0}],
    )
    c: StrengthField = Field(
        0.01, description="a variance; {type: power, c, exponent} or {type: preserving, c} in sigma"
    )
    directions: Literal["equal", "covariance"] = Field(
        "equal", description="covariance: c/lambda_k along eigenvectors of the data covariance"
    )
    draws: FlowDraws = Field(
        default_factory=FlowDraws, description="flow of draws over a base that is not atoms"
    )

    def _compose(self, parts: Parts, x: Tensor | None, streams: Streams) -> FittedPrior:
        base, strength = parts["base"], strength_of(self.c)
        if self.directions == "equal":
            return FittedTikhonov(base, self.draws, strength)
        if x is None:
            raise PluginError("tikhonov: directions: covariance needs training data; give data")
        values, basis = torch.linalg.eigh(torch.cov(x.double().T).reshape(x.shape[1], -1))
        flat = int((values <= 1e-12 * values[-1]).sum())
        if flat:
            raise PluginError(
                f"tikhonov: the data vary in {len(values) - flat} of {len(values)} directions, and "
                "directions: covariance divides by their variances; give more data, fewer "
                "coordinates, or directions: equal"
            )
        return FittedTikhonov(base, self.draws, strength, basis.to(x), (1 / values).to(x))
