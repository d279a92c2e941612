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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mempost.core.capabilities import HasDensity, Withheld, ask
from mempost.core.errors import PluginError
from mempost.core.posterior import Posterior, mixture_moments
from mempost.core.problem import InverseProblem
from mempost.core.streams import TILE, Stream
from mempost.methods.mixtures.mixture_marginals import GaussianMixture1D
from mempost.methods.posteriors.component_updates import (
    ComponentUpdates,
    blocks,
    common_update,
    mixture_of,
    update_at,
    updates_at_means,
)
from mempost.methods.posteriors.gaussian_update import GaussianUpdate

_BLOCK = 2**22
"""Numbers in the Jacobians of one block of components."""
_KEPT = 2**27
"""Numbers in the factorisations of all components that are kept rather than computed again."""
_CANCELLATION = 0.05
"""Share of a variance that the data leave, below which it is no difference of two others."""
_RESOLVED = 4.0
"""Units of rounding that a draw should be away from the mean of its component."""


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
        points: where F is linearised for each component; its mean x_n unless searched for.
        converged: whether the search for that point ended (True where there was none).
    """

    problem: InverseProblem
    log_weights: Float[Tensor, " n"]
    component_means: Float[Tensor, "n d"]
    component_log_evidences: Float[Tensor, " n"]
    updates: GaussianUpdate | None
    shared: bool
    points: Float[Tensor, "n d"]
    converged: Bool[Tensor, " n"]

    @classmethod
    def of(
        cls, problem: InverseProblem, log_determinant: bool = True, keep_jacobians: bool = False
    ) -> LinearisedMixture:
        """Linearise at every component's mean and update it.

        Args:
            problem: with a mixture prior.
            log_determinant: False leaves it out of the weights.
            keep_jacobians: keep Jacobians with `mempost.core.keeping`, and use kept ones.

        Raises:
            NonFiniteError: F or its Jacobian is not finite at a component, which is named.
        """
        return cls.join(problem, updates_at_means(problem, keep_jacobians, _BLOCK), log_determinant)

    @classmethod
    def join(
        cls,
        problem: InverseProblem,
        parts: Iterable[ComponentUpdates],
        log_determinant: bool = True,
    ) -> LinearisedMixture:
        """The mixture from the updates of its components, block by block in order."""
        prior = mixture_of(problem)
        n, (m, d) = len(prior.weights), (problem.data_dimension, problem.dimension)
        shared = common_update(problem)
        keep = n * (min(m, d) ** 2 + (m * d if m < d else 0)) <= _KEPT
        means, quadratics, log_dets, updates, points, converged = [], [], [], [], [], []
        for part in parts:
            u = part.u.to(prior.means.dtype)
            shift = prior.factor_product(part.components, u[..., None])[..., 0]
            means.append(prior.means[part.components] + shift)
            quadratics.append(part.quadratic)
            log_dets.append(part.update.log_det.expand(len(part.components)))
            points.append(part.points)
            converged.append(part.converged)
            if shared is None and keep:
                updates.append(part.update)
        quadratic, log_det = torch.cat(quadratics), torch.cat(log_dets)
        log_weights = prior.weights.log() - 0.5 * quadratic
        if log_determinant:
            log_weights = log_weights - 0.5 * log_det
        constant = problem.gaussian().log_normaliser(m)
        return cls(
            problem=problem,
            log_weights=torch.log_softmax(log_weights, 0).to(prior.means.dtype),
            component_means=torch.cat(means),
            component_log_evidences=(-0.5 * (quadratic + log_det) - constant).to(prior.means.dtype),
            updates=shared or (GaussianUpdate.concatenate(updates) if keep else None),
            shared=shared is not None,
            points=torch.cat(points),
            converged=torch.cat(converged),
        )

    @property
    def withheld(self) -> Withheld:
        if ask(self.problem.prior, HasDensity) is not None:
            return {}
        return {HasDensity: "the prior has atoms or a singular covariance"}

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

    def marginal(self, coordinate: int) -> GaussianMixture1D:
        """The marginal of one coordinate, counted from 0."""
        return self.marginals([coordinate])[0]

    def marginals(self, coordinates: Sequence[int] | None = None) -> list[GaussianMixture1D]:
        """Marginals of some coordinates, or of all; components without weight are left out."""
        d = self.problem.dimension
        chosen = list(range(d)) if coordinates is None else list(coordinates)
        index = torch.nonzero(self.weights > 1e-20)[:, 0]
        if self.shared:
            stds = self._component_variances(index[:1])[:, chosen].sqrt()
        else:
            size = max(1, _BLOCK // (min(self.problem.data_dimension, d) * d))
            parts = [self._component_variances(part)[:, chosen] for part in index.split(size)]
            stds = torch.cat(parts).sqrt()
        weights = self.weights[index]
        means, stds = self.component_means[index][:, chosen], stds.expand(len(index), -1)
        return [GaussianMixture1D(weights, means[:, i], stds[:, i]) for i in range(len(chosen))]

    def quantiles(self, probabilities: Sequence[float]) -> Float[Tensor, "q d"]:
        """Quantiles of every coordinate's marginal, by solving CDF = p."""
        p = self.component_means.new_tensor(list(probabilities))
        return torch.stack([marginal.quantile(p) for marginal in self.marginals()], 1)

    def credible_intervals(
        self, level: float = 0.95
    ) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Lower and upper ends of the equal-tailed credible interval of every coordinate."""
        low, high = self.quantiles([(1 - level) / 2, (1 + level) / 2])
        return low, high

    def component_covariances(self, index: Tensor) -> Float[Tensor, "k d d"]:
        """Sigma_n of the components in ``index`` (k,), dense."""
        root = self._root(index, torch.arange(self.problem.dimension))
        return (root.mT @ root).to(mixture_of(self.problem).dtype)

    def _component_variances(self, index: Tensor) -> Float[Tensor, "k d"]:
        """Diagonals of Sigma_n, without the d x d matrices if m < d.

        Coordinates of which the data leave little are computed by a sum of squares.
        """
        prior, explained = mixture_of(self.problem), self._update(index).explained
        if explained is None:
            root = self._root(index, torch.arange(self.problem.dimension))
            return root.square().sum(-2).to(prior.dtype)
        explained = explained.to(prior.dtype).expand(len(index), -1, -1)
        before = prior.component_variances(index)
        after = before - prior.factor_product(index, explained).square().sum(-1)
        cancelled = torch.nonzero((after < _CANCELLATION * before).any(0))[:, 0]
        after[:, cancelled] = self._root(index, cancelled).square().sum(-2).to(prior.dtype)
        return after

    def _root(self, index: Tensor, coordinates: Tensor) -> Float[Tensor, "k q c"]:
        """Y with Y^T Y the part of Sigma_n that belongs to some coordinates, double."""
        prior, d = mixture_of(self.problem), self.problem.dimension
        places = torch.arange(len(coordinates), device=prior.device)
        unit = torch.zeros(d, len(coordinates), dtype=prior.dtype, device=prior.device)
        unit[coordinates, places] = 1
        v = prior.factor_product(index, unit.expand(len(index), -1, -1), transpose=True)
        return self._update(index).root(v)

    def log_density(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """Normalised log density; refused where the prior has atoms or singular components."""
        prior, d = mixture_of(self.problem), self.problem.dimension
        rows = max(1, _BLOCK // (d * len(self.log_weights)))
        if len(x) > max(rows, TILE):
            return torch.cat([self.log_density(part) for part in x.split(max(rows, TILE))])
        parts = []
        for index in blocks(len(self.log_weights), d * len(x), _BLOCK):
            v = (x - self.component_means[index, None]).mT
            v, log_det = prior.factor_solve(index, v)
            update = self._update(index)
            log_normaliser = log_det - 0.5 * update.log_det + 0.5 * d * math.log(2 * math.pi)
            offset = self.log_weights[index] - log_normaliser
            parts.append(torch.logsumexp(offset[:, None] - 0.5 * update.quadratic(v), 0))
        return torch.logsumexp(torch.stack(parts), 0).to(x.dtype)

    def _draw(self, stream: Stream) -> Float[Tensor, "tile d"]:
        prior, mu = mixture_of(self.problem), self.component_means
        m, d = self.problem.data_dimension, self.problem.dimension
        index = stream.categorical(self.weights, TILE).to(mu.device)
        numbers = stream.normal((TILE, d + m if m < d else d), mu.dtype, mu.device)
        which, place = index.unique(return_inverse=True)
        u = self._update(which)[place * (not self.shared)].deviate(numbers).to(mu.dtype)
        shift = prior.factor_product(index, u[..., None])[..., 0]
        _require_resolved(mu[index], shift)
        return mu[index] + shift

    def component_draws(
        self, index: Tensor, count: int, stream: Stream
    ) -> Float[Tensor, "k count d"]:
        """``count`` draws of each component in ``index`` (k,), whatever its weight."""
        prior, mu = mixture_of(self.problem), self.component_means[index]
        m, d = self.problem.data_dimension, self.problem.dimension
        numbers = stream.normal((count, len(index), d + m if m < d else d), mu.dtype, mu.device)
        update = self._update(index)
        u = torch.stack([update.deviate(e) for e in numbers], -1).to(mu.dtype)
        return mu[:, None] + prior.factor_product(index, u).mT

    def _update(self, index: Tensor) -> GaussianUpdate:
        """The updates of the components in ``index``; a single one where it is shared."""
        if self.updates is not None:
            return self.updates if self.shared else self.updates[index]
        return update_at(self.problem, index, self.points[index])

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


def _require_resolved(mean: Float[Tensor, "n d"], shift: Float[Tensor, "n d"]) -> None:
    """Refuse draws that rounding makes equal to the mean.

    Raises:
        PluginError: naming coordinate, spread and precision.
    """
    spread, size = shift.square().mean(0).sqrt(), mean.abs().amax(0)
    unit = torch.finfo(mean.dtype).eps
    lost = (spread > 0) & (spread < _RESOLVED * unit * size)
    if bool(lost.any()):
        i = int(torch.nonzero(lost)[0])
        precision = str(mean.dtype).partition(".")[2]
        remedy = "take dtype: float64, or " if mean.dtype != torch.float64 else "take "
        raise PluginError(
            f"the posterior's coordinate {i} has a standard deviation of {float(spread[i]):.2g} at "
            f"{float(size[i]):.2g}, which {precision} cannot represent; {remedy}a prior or noise "
            "that leaves more (a bandwidth of 0 gives atoms)"
        )
