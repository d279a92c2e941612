"""Inverse problems: a prior, and what is asked of it: data y of the law p(y | F(x)), or nothing.

    log p(x | y) = log p(x) + log p(y | F(x)) + const

States are flat, x of shape (batch, d), in the prior's coordinates; the operator sees them in its
domain's shape. Under Gaussian noise there are real components of a residual in which the noise is
white with standard deviation gamma, W (y - F(x)) with complex numbers stacked (see
`mempost.core.gaussian_noise`). What is asked for *whitened* is in units of gamma: whitened residual
r = stack(W (y - F(x)))/gamma, whitened Jacobian A = stack(W J)/gamma, grad log p(y|x) = A^T r,
Gauss-Newton Hessian A^T A. Missing data have no components.

Where nothing is asked there is the prior alone: what needs an operator, noise or data then says so.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.autodiff import value_and_pullback
from mempost.core.capabilities import IsGaussian, ask, require
from mempost.core.errors import NonFiniteError, PluginError, ShapeError
from mempost.core.memory import remember
from mempost.core.noise import NoiseLaw, NoiseRecipe, Partial
from mempost.core.operator import ForwardOperator
from mempost.core.prior import FittedPrior
from mempost.core.streams import Stream

_ROWS = 256
_REMEDY = "finite_sample, mala, ula, smc and dps with rule: gaussian take any noise"


class Question(NamedTuple):
    """What is asked: an operator, the law of noise, data ``y`` of the operator's range shape."""

    operator: ForwardOperator
    noise: NoiseLaw
    y: Tensor


class InverseProblem:
    """``InverseProblem(prior, operator, noise, y)``, or ``InverseProblem(prior)``: no question.

    Attributes:
        prior: the fitted prior.
        question: operator, noise and data, or None.
    """

    def __init__(
        self,
        prior: FittedPrior,
        operator: ForwardOperator | None = None,
        noise: NoiseRecipe | NoiseLaw | None = None,
        y: Tensor | None = None,
    ) -> None:
        self.prior = prior
        self.question: Question | None = None
        if operator is None and noise is None and y is None:
            return
        if operator is None or noise is None or y is None:
            raise PluginError("a problem has an operator, noise and data, or none of the three")
        if not isinstance(y, Tensor):
            raise PluginError(f"y is a {type(y).__name__}; give a tensor, torch.as_tensor(y)")
        operator.check_domain(prior.shape)
        expected = operator.range_shape(prior.shape)
        if tuple(y.shape) != tuple(expected):
            raise ShapeError(f"data have shape {tuple(y.shape)}, the operator gives {expected}")
        law = noise.resolve(y)
        law.check(y.flatten())
        _require_finite(y, law)
        self.question = Question(operator, law, y)

    @property
    def asked(self) -> Question:
        """The question.

        Raises:
            PluginError: there is none.
        """
        if self.question is None:
            raise PluginError(
                "nothing is asked here (no operator, noise and observation), and this needs data"
            )
        return self.question

    @property
    def operator(self) -> ForwardOperator:
        """F; refused where nothing is asked."""
        return self.asked.operator

    @property
    def noise(self) -> NoiseLaw:
        """The law p(y | F(x)); refused where nothing is asked."""
        return self.asked.noise

    def gaussian(self, who: str = "what is whitened", remedy: str = _REMEDY) -> IsGaussian:
        """The noise, which must be Gaussian for ``who``.

        Raises:
            PluginError: it is not.
        """
        law = self.noise
        require(law.noise if isinstance(law, Partial) else law, IsGaussian, who, remedy)
        return require(law, IsGaussian, who, remedy)

    @property
    def y(self) -> Tensor:
        """The data; refused where nothing is asked."""
        return self.asked.y

    @property
    def dimension(self) -> int:
        """d, the number of unknowns."""
        return self.prior.dimension

    @property
    def data_dimension(self) -> int:
        """Number of real data that are not missing (complex ones count twice)."""
        present = self.noise.present
        number = self.y.numel() if present is None else len(present)
        return number * (2 if self.y.is_complex() else 1)

    def with_data(self, y: Tensor) -> InverseProblem:
        """The same problem with other data."""
        return InverseProblem(self.prior, self.operator, self.noise, y)

    def forward(self, x: Float[Tensor, "batch d"]) -> Tensor:
        """F(x) as (batch, m), real or complex."""
        return self.operator(x.reshape(-1, *self.prior.shape)).flatten(1)

    def forward_at(self, points: Float[Tensor, "n d"]) -> Tensor:
        """F at points that other data meet again, as (n, m): made once, in blocks of rows."""

        def make() -> Tensor:
            with torch.no_grad():
                return torch.cat([self.forward(x) for x in points.split(_ROWS)])

        return remember(make, "F", self.operator, self.prior.shape, points)

    def observe(self, f: Tensor, stream: Stream) -> Tensor:
        """One draw of data for F(x) = f, both of the operator's range shape; NaN where missing."""
        return self.noise.perturb(f.flatten(), stream).reshape(f.shape)

    def residual(self, x: Float[Tensor, "batch d"]) -> Tensor:
        """y - F(x) as (batch, m); what stands for missing data means nothing."""
        return self.y.flatten() - self.forward(x)

    def whitened_residual(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch m_real"]:
        """Real residuals in units of Gaussian noise."""
        return self.gaussian().whiten(self.residual(x))

    def linearise(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, "batch m_real"], Float[Tensor, "batch m_real d"]]:
        """Whitened residual r and whitened Jacobian A of F (so that r(x + v) = r - A v + ...)."""
        y, whitened = self.tangent(x)
        return self.gaussian().whiten(self.y.flatten() - y), whitened

    def tangent(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Tensor, Float[Tensor, "batch m_real d"]]:
        """F(x) as (batch, m) and the whitened Jacobian A: what no data change."""
        noise = self.gaussian()
        y, jacobian = self.operator.jacobian(x.reshape(-1, *self.prior.shape))
        return y.flatten(1), noise.whiten(jacobian.movedim(-1, -2)).movedim(-1, -2)

    def log_likelihood(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log p(y | x)."""
        return self.noise.log_density(self.y.flatten(), self.forward(x))

    def log_likelihood_at(self, points: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Normalised log p(y | x) at points that other data meet again (see `forward_at`).

        In double precision, since weights are made of differences of these sums.
        """
        double = torch.complex128 if self.y.is_complex() else torch.float64
        y, f = self.y.flatten().to(double), self.forward_at(points).to(double)
        return self.noise.log_density(y, f)

    def log_likelihood_gradient(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch d"]]:
        """log p(y | x) and its gradient, one forward and one adjoint evaluation."""
        value, pullback = value_and_pullback(self.log_likelihood, x)
        return value, pullback(torch.ones_like(value))

    def misfit_ascent(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, "batch m_real"], Float[Tensor, "batch d"]]:
        """Real components r of y - F(x) and -grad |r|^2/2, without the noise level.

        One forward map and one pullback. Of Gaussian noise r is white, so that this is
        component_std^2 grad log p(y | x); of other noise r is the plain residual.
        """
        residual, pullback = value_and_pullback(
            lambda u: self.noise.components(self.residual(u)), x
        )
        return residual, -pullback(residual)

    def likelihood_ascent(
        self, x: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, "batch m_real"], Float[Tensor, "batch d"]]:
        """Real components of y - F(x), and grad log p(y | x): one forward map and one pullback."""
        gaussian = ask(self.noise, IsGaussian)
        if gaussian is not None:
            residual, ascent = self.misfit_ascent(x)
            return residual, ascent / gaussian.component_std**2
        y, noise = self.y.flatten(), self.noise
        f, pullback = value_and_pullback(self.forward, x)
        value, slope = value_and_pullback(lambda g: noise.log_density(y, g), f)
        return noise.components(y - f), pullback(slope(torch.ones_like(value)))

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """log p(x) + log p(y | x): the posterior up to the evidence."""
        return self.prior.log_density(x) + self.log_likelihood(x)


def _require_finite(y: Tensor, law: NoiseLaw) -> None:
    """Refuse data that are not finite, but for missing ones."""
    wrong = ~torch.isfinite(y)
    if law.present is not None:
        there = torch.zeros_like(wrong).flatten()
        there[law.present.tensor(torch.long, y.device)] = True
        wrong = wrong & there.reshape(wrong.shape)
    if wrong.any():
        where = ", ".join(map(str, wrong.nonzero()[0].tolist()))
        remedy = "leave out what was not measured: null in a spec, noise.without(...) in Python"
        raise NonFiniteError(f"datum [{where}] of y", remedy=remedy)
