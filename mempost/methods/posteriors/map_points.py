"""The most probable point of every component, as a better place to linearise at.

Where the data pull a component out of the range in which F is close to its tangent at the mean x_n,
the tangent at the component's own posterior mode describes it better. With x = x_n + L_n v,

    p_n = argmin_v phi(v),      phi(v) = |r(x)|^2 / 2 + |v|^2 / 2,     r whitened,

by Gauss-Newton: at v with A = J(x) L_n, the next point is u* of the update of r(x) + A v (see
`gaussian_update`), approached along the line so that phi falls (Armijo's rule). The search ends
when a step promises less than ``tolerance`` nats, (u* - v)^T (A^T r - v) / 2.

The component is then F linearised at p_n under its own prior N(x_n, L_n L_n^T):

    y - F(p_n) + J_n (p_n - x_n)  =  A_n u + e,           u ~ N(0, I),
    mu_n    = x_n + L_n u_n,      Sigma_n = L_n K_n^-1 L_n^T,      K_n = I + A_n^T A_n,
    log w_n = log pi_n - (|r(p_n) + A_n (v_n - u_n)|^2 + |u_n|^2) / 2 - log det(K_n) / 2 + const.

At the mode u_n = v_n, so mu_n = p_n, and log w_n is Laplace's approximation of the evidence of the
component, log pi_n - phi(v_n) - log det(K_n) / 2, with the Gauss-Newton Hessian K_n. Nothing
depends on a mode that phi may have elsewhere: the search starts at x_n and goes downhill.

References: Nocedal & Wright 2006, "Numerical optimization", chapters 3 and 10; MacKay 2003,
"Information theory, inference, and learning algorithms", chapter 27 (Laplace's method).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core import keeping
from mempost.core.errors import MempostError
from mempost.core.memory import has_room, remember
from mempost.core.prior import State
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.methods.posteriors.component_updates import (
    ComponentUpdates,
    linearised,
    mixture_of,
    whitened_matrix,
)
from mempost.methods.posteriors.gaussian_update import GaussianUpdate
from mempost.methods.posteriors.linearisation_store import BLOCK

_DECREASE = 1e-4
"""Part of the promised decrease of phi that a step has to bring (Armijo)."""
_HALVINGS = 30


@dataclass(frozen=True)
class MapSearch:
    """Gauss-Newton with a line search from the means of a mixture prior.

    Attributes:
        iterations: Jacobians a component at most.
        tolerance: nats; a step that promises less ends the search.
        keep: whether to look for results that `prepare` kept.
    """

    iterations: int
    tolerance: float
    keep: bool = False

    def blocks(self, problem: InverseProblem) -> tuple[Tensor, ...]:
        """Components in blocks whose Jacobians are in memory at a time."""
        numbers = problem.data_dimension * problem.dimension
        return torch.arange(len(mixture_of(problem).weights)).split(max(1, BLOCK // numbers))

    def prepare(self, problem: InverseProblem, index: Tensor, progress: Progress = silent) -> None:
        """Search for the components in ``index``, and keep what is found.

        It depends on data, noise and prior, and is of no use for others.
        """
        name = self._name(problem, index)
        if not keeping.holds(name):
            found = self.updates(problem, index, progress)
            keeping.save(name, State(_to_tensors(found), {}))

    def updates(
        self, problem: InverseProblem, index: Tensor, progress: Progress = silent
    ) -> ComponentUpdates:
        """The updates of the components in ``index``, linearised at their modes; remembered.

        Raises:
            NonFiniteError: F or its Jacobian is not finite at a component's mean.
        """

        def make() -> ComponentUpdates:
            kept = keeping.load(self._name(problem, index)) if self.keep else None
            if kept is None:
                return _search(problem, index, self, progress)
            return _from_tensors(kept.tensors, index, problem.prior.device)

        d, numbers = problem.dimension, len(mixture_of(problem).weights) * problem.dimension
        like = problem.prior.coordinates.location
        if not has_room(numbers * (d + problem.data_dimension) * like.element_size()):
            return make()
        return remember(make, "modes", problem.prior, problem.question, index, self)

    def _name(self, problem: InverseProblem, index: Tensor) -> str:
        prior = mixture_of(problem)
        eye = torch.eye(prior.dimension, dtype=prior.dtype, device=prior.device)
        factors = prior.factor_product(index, eye.expand(len(index), -1, -1))
        numbers = f"{self.iterations} {self.tolerance!r}"
        y = torch.view_as_real(problem.y + 0j)
        pieces = (prior.means[index], factors, y, problem.noise, numbers)
        return f"map-{keeping.content_hash(problem.operator, *pieces, code=__name__)}"


def _to_tensors(found: ComponentUpdates) -> dict[str, Tensor]:
    tensors = {
        "u": found.u,
        "quadratic": found.quadratic,
        "points": found.points,
        "converged": found.converged,
        "cholesky": found.update.cholesky,
    }
    matrix = found.update.matrix
    return {k: t.contiguous() for k, t in tensors.items()} | (
        {} if matrix is None else {"matrix": matrix.contiguous()}
    )


def _from_tensors(
    tensors: dict[str, Tensor], index: Tensor, device: torch.device
) -> ComponentUpdates:
    t = {name: tensor.to(device) for name, tensor in tensors.items()}
    update = GaussianUpdate(t["cholesky"], t.get("matrix"))
    return ComponentUpdates(
        index, t["u"], t["quadratic"], update, t["points"], t["converged"].bool()
    )


class _Record:
    """What is known of the components so far; filled in by rows as they end."""

    def __init__(self, index: Tensor, like: Tensor) -> None:
        k, d = len(index), like.shape[1]
        self.index = index
        self.u, self.points = like.new_zeros(k, d), like.new_zeros(k, d)
        self.quadratic = like.new_zeros(k)
        self.converged = torch.zeros(k, dtype=torch.bool, device=like.device)
        self.cholesky: Tensor | None = None
        self.matrix: Tensor | None = None

    def write(
        self, rows: Tensor, x: Tensor, u: Tensor, quadratic: Tensor, update: GaussianUpdate
    ) -> None:
        k = len(self.index)
        if self.cholesky is None:
            self.cholesky = update.cholesky.new_zeros(k, *update.cholesky.shape[1:])
            if update.matrix is not None:
                self.matrix = update.matrix.new_zeros(k, *update.matrix.shape[1:])
        self.u[rows], self.points[rows], self.quadratic[rows] = u, x, quadratic
        self.cholesky[rows] = update.cholesky
        if self.matrix is not None and update.matrix is not None:
            self.matrix[rows] = update.matrix

    def updates(self) -> ComponentUpdates:
        assert self.cholesky is not None
        update = GaussianUpdate(self.cholesky, self.matrix)
        return ComponentUpdates(
            self.index, self.u, self.quadratic, update, self.points, self.converged
        )


def _search(
    problem: InverseProblem, index: Tensor, options: MapSearch, progress: Progress
) -> ComponentUpdates:
    prior = mixture_of(problem)
    means = prior.means[index]
    v, record = torch.zeros_like(means), _Record(index, means)
    active = torch.arange(len(index))
    for iteration in range(options.iterations):
        progress(iteration, options.iterations, f"{len(active)} components are not at their mode")
        x = _place(problem, index[active], v[active])
        r, j = linearised(problem, x, int(index[active[0]]))
        a, old = whitened_matrix(prior, index[active], j), v[active]
        update = GaussianUpdate.of(a)
        target = r + (a @ old[..., None])[..., 0]
        u, quadratic = (t[..., 0] for t in update.solve(a, target[..., None]))
        slope = (((a.mT @ r[..., None])[..., 0] - old) * (u - old)).sum(-1)
        record.write(active, x, u, quadratic, update)
        settled = slope / 2 <= options.tolerance
        record.converged[active] = settled
        if iteration == options.iterations - 1:
            break
        going = ~settled
        phi = (r.square().sum(-1) + old.square().sum(-1)) / 2
        step = _line_search(
            problem, index[active][going], old[going], (u - old)[going], phi[going], slope[going]
        )
        v[active[going]] = old[going] + step[:, None] * (u - old)[going]
        active = active[going][step > 0]
        if len(active) == 0:
            break
    return record.updates()


def _line_search(
    problem: InverseProblem,
    index: Tensor,
    v: Float[Tensor, "k d"],
    direction: Float[Tensor, "k d"],
    phi: Float[Tensor, " k"],
    slope: Float[Tensor, " k"],
) -> Float[Tensor, " k"]:
    """Step lengths 1, 1/2, 1/4, ... that lower phi enough; 0 where there is none."""
    step, accepted = torch.ones_like(phi), torch.zeros_like(phi, dtype=torch.bool)
    for _ in range(_HALVINGS):
        rows = torch.nonzero(~accepted)[:, 0]
        if len(rows) == 0:
            return step
        trial = v[rows] + step[rows, None] * direction[rows]
        misfit = _misfit(problem, _place(problem, index[rows], trial))
        value = misfit + trial.square().sum(-1) / 2
        good = value <= phi[rows] - _DECREASE * step[rows] * slope[rows]
        accepted[rows[good]] = True
        step[rows[~good]] /= 2
    return torch.where(accepted, step, 0.0)


def _misfit(problem: InverseProblem, x: Float[Tensor, "k d"]) -> Float[Tensor, " k"]:
    """|r(x)|^2 / 2; infinite where F is not finite or refuses x."""
    try:
        misfit = problem.whitened_residual(x).square().sum(-1) / 2
    except MempostError:
        if len(x) == 1:
            return x.new_full((1,), torch.inf)
        return torch.cat([_misfit(problem, row[None]) for row in x])
    return torch.where(torch.isfinite(misfit), misfit, torch.inf)


def _place(problem: InverseProblem, index: Tensor, v: Float[Tensor, "k d"]) -> Tensor:
    """x_n + L_n v."""
    prior = mixture_of(problem)
    return prior.means[index] + prior.factor_product(index, v[..., None])[..., 0]
