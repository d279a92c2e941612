"""Small problems whose posteriors are known: mixtures of Gaussians seen by linear operators.

For the prior sum_n pi_n N(m_n, C_n) and data y = A x + b + noise of covariance gamma^2 I (complex
data stacked), with r_n = y - A m_n - b and S_n = A C_n A^T + gamma^2 I, the posterior has

    weights  proportional to  pi_n N(r_n; 0, S_n)
    means    m_n + C_n A^T S_n^-1 r_n
    covariances  C_n - C_n A^T S_n^-1 A C_n

All matrices are dense, and A comes from the values of the operator alone: these are the slow and
plain formulas that plugins are held against.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.arrays import ComplexMatrix
from mempost.core.capabilities import HasComponents, HasDensity, IsGaussian, Withheld, ask, require
from mempost.core.errors import PluginError
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.mixture import MixturePrior
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.posterior import Posterior, mixture_moments
from mempost.core.prior import State
from mempost.core.problem import InverseProblem
from mempost.core.streams import TILE, Stream
from mempost.core.tags import Tag


class DenseMixture(MixturePrior):
    """Gaussians with covariances C_n = L_n L_n^T, by Cholesky factorisations of every C_n."""

    def __init__(
        self,
        weights: Float[Tensor, " n"],
        means: Float[Tensor, "n d"],
        factors: Float[Tensor, "n d d"],
        shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(shape or tuple(means.shape[1:]), means)
        self.weights, self.means, self.factors = weights, means, factors

    @property
    def withheld(self) -> Withheld:
        return {HasDensity: "atoms"} if bool((self.factors == 0).all()) else {}

    @property
    def covariances(self) -> Float[Tensor, "n d d"]:
        return self.factors @ self.factors.mT

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        log_densities, solved = self._components(z, a, s)
        responsibilities = torch.softmax(log_densities, -1)
        shift = a[..., None] * torch.einsum("nij,bnj->bni", self.covariances, solved)
        return torch.einsum("bn,bni->bi", responsibilities, self.means + shift)

    def _log_density(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return torch.logsumexp(self._components(z, a, s)[0], -1)

    def component_log_densities(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, "batch n"]:
        """log(pi_n N(z; a m_n, a^2 C_n + s^2 I))."""
        self._check(z)
        return self._components(z, *level.columns(z))[0]

    def _components(self, z: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities (batch, n), and (a^2 C_n + s^2 I)^-1 (z - a m_n)."""
        if bool((self.factors == 0).all()) and bool((s == 0).any()):
            raise PluginError("atoms have no density at s = 0")
        eye = torch.eye(self.dimension, dtype=z.dtype, device=z.device)
        a, s = a[..., None, None], s[..., None, None]
        root = torch.linalg.cholesky(a**2 * self.covariances + s**2 * eye)
        difference = z[:, None] - a[..., 0] * self.means
        root = root.expand(*difference.shape, -1)
        solved = torch.cholesky_solve(difference[..., None], root)[..., 0]
        log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        square = (difference * solved).sum(-1)
        constant = self.dimension * math.log(2 * math.pi)
        return self.weights.log() - 0.5 * (square + log_det + constant), solved

    def factor_product(self, index: Tensor, v: Tensor, transpose: bool = False) -> Tensor:
        """L_n v or L_n^T v."""
        factor = self.factors[index]
        return (factor.mT if transpose else factor) @ v

    def factor_solve(self, index: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """L_n^-1 v and log det L_n; refused for atoms."""
        if bool((self.factors == 0).all()):
            raise PluginError("atoms have covariances without an inverse")
        factor = self.factors[index]
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return torch.linalg.solve_triangular(factor, v, upper=False), log_det

    def _draw(self, stream: Stream) -> Tensor:
        index = stream.categorical(self.weights, TILE).to(self.device)
        e = stream.normal((TILE, self.dimension), self.dtype, self.device)
        return self.means[index] + (self.factors[index] @ e[..., None])[..., 0]

    def _state(self) -> State:
        return State({"weights": self.weights, "means": self.means, "factors": self.factors}, {})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        tensors, values = state
        return cls(tensors["weights"], tensors["means"], tensors["factors"], values["shape"])


class MatrixOperator(ForwardOperator):
    """F(x) = A x for a dense real or complex matrix A (m, d)."""

    tags = frozenset({"linear"})
    matrix: ComplexMatrix

    def _tags(self) -> frozenset[Tag]:
        return super()._tags() | ({"complex"} if self.matrix.tensor().is_complex() else set())

    @property
    def domain_shape(self) -> Shape:
        return (self.matrix.shape[1],)

    def range_shape(self, domain_shape: Shape) -> Shape:
        return (self.matrix.shape[0],)

    def forward(self, x: Float[Tensor, "batch d"]) -> Tensor:
        dtype = x.dtype.to_complex() if self.is_complex else x.dtype
        return x.to(dtype) @ self.matrix.tensor(dtype, x.device).mT


class CubicOperator(ForwardOperator):
    """F(x) = x + x^3 / 10, elementwise."""

    def forward(self, x: Float[Tensor, "batch *domain"]) -> Tensor:
        return x + x**3 / 10


class DensePosterior(Posterior):
    """A mixture of Gaussians with dense covariances; with zero covariances, atoms."""

    def __init__(
        self,
        weights: Float[Tensor, " n"],
        means: Float[Tensor, "n d"],
        covariances: Float[Tensor, "n d d"],
    ) -> None:
        self._weights, self.means, self.covariances = weights, means, covariances
        self.is_atomic = bool((covariances == 0).all())

    @property
    def withheld(self) -> Withheld:
        return {HasDensity: "atoms"} if self.is_atomic else {}

    @property
    def weights(self) -> Float[Tensor, " n"]:
        return self._weights

    def mean(self) -> Float[Tensor, " d"]:
        return self._weights @ self.means

    def covariance(self) -> Float[Tensor, "d d"]:
        within = torch.einsum("n,nij->ij", self._weights, self.covariances)
        return mixture_moments(self._weights, self.means, within)[1]

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        return torch.logsumexp(self._component_log_densities(x), -1)

    def responsibilities(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch n"]:
        """The probability that each component generated x; their means are the weights."""
        if self.is_atomic:
            nearest = torch.cdist(x, self.means).argmin(-1)
            return torch.nn.functional.one_hot(nearest, len(self.means)).to(x.dtype)
        return torch.softmax(self._component_log_densities(x), -1)

    def distribution(
        self, x: Float[Tensor, "batch d"], directions: Float[Tensor, "d k"]
    ) -> Float[Tensor, "batch k"]:
        """Distribution function of u^T x along every direction u."""
        centre = self.means @ directions
        variance = torch.einsum("dk,nde,ek->nk", directions, self.covariances, directions)
        standardised = ((x @ directions)[:, None] - centre) / variance.sqrt()
        return torch.einsum("n,bnk->bk", self._weights, torch.special.ndtr(standardised))

    def _component_log_densities(self, x: Tensor) -> Tensor:
        if self.is_atomic:
            raise PluginError("atoms have no density")
        gaussians = torch.distributions.MultivariateNormal(self.means, self.covariances)
        return self._weights.log() + gaussians.log_prob(x[:, None])

    def _draw(self, stream: Stream) -> Tensor:
        index = stream.categorical(self._weights, TILE)
        e = stream.normal(tuple(self.means[index].shape), self.means.dtype)
        if self.is_atomic:
            return self.means[index]
        root = torch.linalg.cholesky(self.covariances)[index]
        return self.means[index] + (root @ e[..., None])[..., 0]


def is_solvable(problem: InverseProblem) -> bool:
    """Whether `solve` applies: a mixture prior, a linear operator, Gaussian noise."""
    mixture, gaussian = ask(problem.prior, HasComponents), ask(problem.noise, IsGaussian)
    return mixture is not None and gaussian is not None and problem.operator.is_linear


def solve(problem: InverseProblem) -> DensePosterior:
    """The posterior of a mixture prior under a linear operator, in float64 on the CPU."""
    prior = require(problem.prior, HasComponents, "a dense posterior")
    if not problem.operator.is_linear:
        raise PluginError("only linear operators have a dense posterior")
    d, noise = prior.dimension, problem.gaussian("a dense posterior")
    eye = torch.eye(d, dtype=prior.dtype, device=prior.device)
    offset = problem.forward(torch.zeros_like(eye[:1]))
    matrix = noise.components(problem.forward(eye) - offset).mT.double().cpu()
    index = torch.arange(len(prior.weights), device=prior.device)
    factors = prior.factor_product(index, eye.expand(len(index), d, d)).double().cpu()
    means, covariances = prior.means.double().cpu(), factors @ factors.mT
    data = noise.components(problem.y.flatten() - offset).double().cpu()
    residuals = data - means @ matrix.mT
    white = noise.component_std**2 * torch.eye(len(matrix), dtype=torch.float64)
    predictive = matrix @ covariances @ matrix.mT + white
    gain = covariances @ matrix.mT @ torch.linalg.inv(predictive)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(len(matrix)).double(), predictive)
    log_weights = prior.weights.double().cpu().log() + evidence.log_prob(residuals)
    return DensePosterior(
        torch.softmax(log_weights, 0),
        means + (gain @ residuals[..., None])[..., 0],
        covariances - gain @ matrix @ covariances,
    )
