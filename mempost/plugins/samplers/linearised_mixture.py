"""The posterior of a mixture prior when F is linearised at the mean of every component.

Component n of the prior is x = x_n + L_n u with u ~ N(0, I). With the whitened residual r_n and the
whitened Jacobian J_n of F at x_n, and A_n = J_n L_n, the data see r_n = A_n u + e: a Gaussian
update for each component (see `gaussian_update`). The posterior is sum_n w_n N(mu_n, Sigma_n) with

    mu_n    = x_n + L_n u_n,                     Sigma_n = L_n K_n^-1 L_n^T
    log w_n = log pi_n - (|r_n - A_n u_n|^2 + |u_n|^2) / 2 - log det(K_n) / 2 + const,

which is exact for linear F. L_n = h I in a memorized prior, and h = 0 gives its limit: the examples
themselves with the weights of their likelihoods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.mixture import MixturePrior
from mempost.core.posterior import Posterior, mixture_moments
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.core.streams import TILE, Stream
from mempost.plugins.samplers.gaussian_update import GaussianUpdate

_BLOCK = 2**22
"""Numbers in the Jacobians of one block of components."""
_KEPT = 2**27
"""Numbers in the factorisations of all components that are kept rather than computed again."""


@dataclass(frozen=True, eq=False)
class LinearisedMixture(Posterior):
    """A Gaussian mixture posterior.

    Attributes:
        problem: the inverse problem, with a mixture prior.
        log_weights: normalised log w_n.
        component_means: mu_n.
        component_log_evidences: log N(y; F(x_n), J_n C_n J_n^T + noise), with the log-determinant.
        updates: the update of every component, or None where they are too many to keep and are
            computed again when needed.
        shared: whether all components have one update (F linear, one prior covariance).
    """

    problem: InverseProblem
    log_weights: Float[Tensor, " n"]
    component_means: Float[Tensor, "n d"]
    component_log_evidences: Float[Tensor, " n"]
    updates: GaussianUpdate | None
    shared: bool

    @classmethod
    def of(cls, problem: InverseProblem, log_determinant: bool = True) -> LinearisedMixture:
        """Linearise at every component and update it; without its log-determinant if asked.

        Raises:
            NonFiniteError: F or its Jacobian is not finite at a component, which is named.
        """
        prior = mixture_of(problem)
        n, (m, d) = len(prior.weights), (problem.data_dimension, problem.dimension)
        jacobian = _constant_jacobian(problem, prior)
        shared = _common_update(prior, jacobian)
        keep = n * (min(m, d) ** 2 + (m * d if m < d else 0)) <= _KEPT
        means, quadratics, log_dets, updates = [], [], [], []
        for index in _blocks(n, m + d if shared else m * d):
            r, j = _linearise(problem, prior.means[index], jacobian, int(index[0]))
            if shared:
                u, quadratic = shared.solve(_matrix(prior, index[:1], j), r.mT[None])
                u, quadratic, update = u[0].mT, quadratic[0], shared
            else:
                a = _matrix(prior, index, j)
                update = GaussianUpdate.of(a)
                u, quadratic = (x[..., 0] for x in update.solve(a, r[..., None]))
                if keep:
                    updates.append(update)
            means.append(prior.means[index] + prior.factor_product(index, u[..., None])[..., 0])
            quadratics.append(quadratic)
            log_dets.append(update.log_det.expand(len(index)))
        quadratic, log_det = torch.cat(quadratics), torch.cat(log_dets)
        log_weights = prior.weights.log() - 0.5 * quadratic
        if log_determinant:
            log_weights = log_weights - 0.5 * log_det
        constant = m * (math.log(problem.noise.component_std) + 0.5 * math.log(2 * math.pi))
        return cls(
            problem=problem,
            log_weights=torch.log_softmax(log_weights, 0),
            component_means=torch.cat(means),
            component_log_evidences=-0.5 * (quadratic + log_det) - constant,
            updates=shared or (GaussianUpdate.concatenate(updates) if keep else None),
            shared=shared is not None,
        )

    @property
    def weights(self) -> Float[Tensor, " n"]:
        return self.log_weights.exp()

    @property
    def log_evidence(self) -> Float[Tensor, ""]:
        """log p(y) of the linearised model, whether or not the weights hold the determinants."""
        prior = mixture_of(self.problem)
        return torch.logsumexp(prior.weights.log() + self.component_log_evidences, 0)

    def mean(self) -> Float[Tensor, " d"]:
        return self.weights @ self.component_means

    def covariance(self) -> Float[Tensor, "d d"]:
        d = self.problem.dimension
        within = self.component_means.new_zeros(d, d)
        for index, w in self._significant(d * d):
            within = within + torch.einsum("n,nij->ij", w, self.component_covariances(index))
        return mixture_moments(self.weights, self.component_means, within)[1]

    def std(self) -> Float[Tensor, " d"]:
        m, d = self.problem.data_dimension, self.problem.dimension
        variance = self.component_means.new_zeros(d)
        for index, w in self._significant(min(m, d) * d):
            variance = variance + w @ self._component_variances(index)
        centred = self.component_means - self.mean()
        return (variance + self.weights @ centred.square()).sqrt()

    def component_covariances(self, index: Tensor) -> Float[Tensor, "k d d"]:
        """Sigma_n of the components in ``index`` (k,), dense."""
        prior, covariance = mixture_of(self.problem), self._update(index).covariance()
        covariance = covariance.expand(len(index), -1, -1)
        return prior.factor_product(index, prior.factor_product(index, covariance).mT)

    def _component_variances(self, index: Tensor) -> Float[Tensor, "k d"]:
        """Diagonals of Sigma_n, without the d x d matrices if m < d."""
        prior, update = mixture_of(self.problem), self._update(index)
        root = update.root().expand(len(index), -1, -1)
        squares = prior.factor_product(index, root).square().sum(-1)
        if update.matrix is None:
            return squares
        return (prior.component_variances(index) - squares).clamp(min=0)

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log density; refused where the prior has atoms or singular components."""
        prior, d = mixture_of(self.problem), self.problem.dimension
        rows = max(1, _BLOCK // (d * len(self.log_weights)))
        if len(x) > max(rows, TILE):
            return torch.cat([self.log_density(part) for part in x.split(max(rows, TILE))])
        parts = []
        for index in _blocks(len(self.log_weights), d * len(x)):
            v = (x - self.component_means[index, None]).mT
            v, log_det = prior.factor_solve(index, v)
            update = self._update(index)
            log_normaliser = log_det - 0.5 * update.log_det + 0.5 * d * math.log(2 * math.pi)
            offset = self.log_weights[index] - log_normaliser
            parts.append(torch.logsumexp(offset[:, None] - 0.5 * update.quadratic(v), 0))
        return torch.logsumexp(torch.stack(parts), 0)

    def _draw(self, stream: Stream) -> Float[Tensor, "tile d"]:
        prior, mu = mixture_of(self.problem), self.component_means
        m, d = self.problem.data_dimension, self.problem.dimension
        index = stream.categorical(self.weights, TILE).to(mu.device)
        numbers = stream.normal((TILE, d + m if m < d else d), mu.dtype, mu.device)
        which, place = index.unique(return_inverse=True)
        u = self._update(which)[place * (not self.shared)].deviate(numbers)
        return mu[index] + prior.factor_product(index, u[..., None])[..., 0]

    def _update(self, index: Tensor) -> GaussianUpdate:
        """The updates of the components in ``index``; a single one where it is shared."""
        if self.updates is not None:
            return self.updates if self.shared else self.updates[index]
        prior = mixture_of(self.problem)
        jacobian = _constant_jacobian(self.problem, prior)
        _, j = _linearise(self.problem, prior.means[index], jacobian, int(index[0]))
        return GaussianUpdate.of(_matrix(prior, index, j))

    def _significant(self, numbers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of components that carry weight, and their weights; one where all are equal."""
        if self.shared:
            yield (
                torch.zeros(1, dtype=torch.long, device=self.weights.device),
                self.weights.sum(0, True),
            )
            return
        index = torch.nonzero(self.weights > 1e-20)[:, 0]
        for block in index.split(max(1, _BLOCK // numbers)):
            yield block, self.weights[block]


def mixture_of(problem: InverseProblem) -> MixturePrior:
    """The problem's prior, which must be a mixture.

    Raises:
        PluginError: it is not.
    """
    if not isinstance(problem.prior, MixturePrior):
        raise PluginError(
            f"a linearised mixture needs a prior that is a Gaussian mixture, found "
            f"{type(problem.prior).__name__}; empirical_gmm, gaussian and gaussian_mixture are"
        )
    return problem.prior


def _blocks(n: int, numbers: int) -> Iterator[Tensor]:
    """0 .. n - 1 in blocks that hold `_BLOCK` numbers, ``numbers`` for each."""
    yield from torch.arange(n).split(max(1, _BLOCK // numbers))


def _constant_jacobian(problem: InverseProblem, prior: MixturePrior) -> Tensor | None:
    """The whitened Jacobian (1, m, d) of a linear operator; None if F is not linear."""
    if not problem.operator.is_linear:
        return None
    return problem.linearise(prior.means[:1])[1]


def _common_update(prior: MixturePrior, jacobian: Tensor | None) -> GaussianUpdate | None:
    """The update of all components, where they share one."""
    if jacobian is None or not prior.shared_covariance:
        return None
    return GaussianUpdate.of(_matrix(prior, torch.zeros(1, dtype=torch.long), jacobian))


def _linearise(
    problem: InverseProblem, x: Tensor, jacobian: Tensor | None, first: int
) -> tuple[Tensor, Tensor]:
    """Whitened residuals (k, m) and Jacobians (k or 1, m, d) at the means x (k, d)."""
    if jacobian is None:
        r, j = problem.linearise(x)
        require_finite(j, "the Jacobian of F at the mean of a component", first_sample=first)
    else:
        r, j = problem.whitened_residual(x), jacobian
    require_finite(r, "F at the mean of a component", first_sample=first)
    return r, j


def _matrix(prior: MixturePrior, index: Tensor, jacobian: Tensor) -> Tensor:
    """A_n = J_n L_n (k, m, d) for the components in ``index`` (k,)."""
    transposed = jacobian.mT.expand(len(index), -1, -1)
    return prior.factor_product(index, transposed, transpose=True).mT
