"""Bayes' rule for a standard normal u observed through a matrix: r = A u + e, e ~ N(0, I_m).

With K_d = I_d + A^T A and K_m = I_m + A A^T (Woodbury's identity),

    u | r  ~  N(u*, K_d^-1),       u* = K_d^-1 A^T r = A^T K_m^-1 r        (push-through identity)
    r      ~  N(0, K_m),           r^T K_m^-1 r = |r - A u*|^2 + |u*|^2
                                   log det K_m = log det K_d               (determinant lemma)

Every component of a linearised Gaussian mixture is this problem in the coordinates of its own
factor. Only the smaller of K_d and K_m is formed and factorised, for a batch of problems at once.
The quadratic form is a sum of squares, so it does not cancel.

Where d <= m, the statistics G = A^T A, t = A^T r and q = |r|^2 will do, without A and r:

    u* = (I + G)^-1 t,      r^T K_m^-1 r = q - 2 t^T u* + u*^T (I + G) u*

which is stationary in u*, so that an error of u* counts squared; differences of q cancel, which
leaves a rounding error of q times the unit roundoff (1e-10 for q = 1e6 in double precision).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GaussianUpdate:
    """Factorised updates of k problems with d unknowns and m data.

    Attributes:
        cholesky: lower factors of K_d (k, d, d) if d <= m, else of K_m (k, m, m).
        matrix: A (k, m, d) if m < d; not needed otherwise.
    """

    cholesky: Float[Tensor, "k p p"]
    matrix: Float[Tensor, "k m d"] | None

    @classmethod
    def of(cls, a: Float[Tensor, "k m d"]) -> GaussianUpdate:
        """Factorise the smaller of K_d and K_m."""
        m, d = a.shape[-2:]
        gram = a.mT @ a if d <= m else a @ a.mT
        gram = gram + torch.eye(min(m, d), dtype=a.dtype, device=a.device)
        return cls(torch.linalg.cholesky(gram), None if d <= m else a)

    @classmethod
    def of_gram(cls, gram: Float[Tensor, "k d d"]) -> GaussianUpdate:
        """Factorise K_d = I + G from G = A^T A."""
        eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        return cls(torch.linalg.cholesky(gram + eye), None)

    def __getitem__(self, index: Tensor) -> GaussianUpdate:
        """The problems in ``index``."""
        return GaussianUpdate(
            self.cholesky[index], None if self.matrix is None else self.matrix[index]
        )

    @staticmethod
    def concatenate(updates: list[GaussianUpdate]) -> GaussianUpdate:
        """All problems of several updates of equal d and m."""
        matrices = [u.matrix for u in updates if u.matrix is not None]
        return GaussianUpdate(
            torch.cat([u.cholesky for u in updates]), torch.cat(matrices) if matrices else None
        )

    def solve(
        self, a: Float[Tensor, "k m d"], r: Float[Tensor, "k m c"]
    ) -> tuple[Float[Tensor, "k d c"], Float[Tensor, "k c"]]:
        """u* and r^T K_m^-1 r for c data vectors of each problem, with one step of refinement."""
        if self.matrix is None:
            u = torch.cholesky_solve(a.mT @ r, self.cholesky)
            u = u + torch.cholesky_solve(a.mT @ (r - a @ u) - u, self.cholesky)
        else:
            t = torch.cholesky_solve(r, self.cholesky)
            t = t + torch.cholesky_solve(r - a @ (a.mT @ t) - t, self.cholesky)
            u = a.mT @ t
        return u, (r - a @ u).square().sum(-2) + u.square().sum(-2)

    def solve_statistics(
        self, gram: Float[Tensor, "k d d"], t: Float[Tensor, "k d"], q: Float[Tensor, " k"]
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, " k"]]:
        """u* and r^T K_m^-1 r from statistics, with one step of refinement; made by `of_gram`."""
        t = t[..., None]
        u = torch.cholesky_solve(t, self.cholesky)
        u = u + torch.cholesky_solve(t - u - gram @ u, self.cholesky)
        quadratic = q + ((u + gram @ u - 2 * t) * u).sum((-2, -1))
        return u[..., 0], quadratic

    @property
    def log_det(self) -> Float[Tensor, " k"]:
        """log det K_d = log det K_m."""
        return 2 * self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def quadratic(self, v: Float[Tensor, "k d c"]) -> Float[Tensor, "k c"]:
        """v^T K_d v."""
        if self.matrix is None:
            return (self.cholesky.mT @ v).square().sum(-2)
        return v.square().sum(-2) + (self.matrix @ v).square().sum(-2)

    def covariance(self) -> Float[Tensor, "k d d"]:
        """K_d^-1, dense."""
        if self.matrix is None:
            return torch.cholesky_inverse(self.cholesky)
        g = self.root()
        return torch.eye(g.shape[-2], dtype=g.dtype, device=g.device) - g @ g.mT

    def root(self) -> Float[Tensor, "k d p"]:
        """B with K_d^-1 = B B^T if d <= m, and K_d^-1 = I - B B^T if m < d."""
        if self.matrix is None:
            eye = torch.eye(self.cholesky.shape[-1], dtype=self.cholesky.dtype)
            eye = eye.to(self.cholesky.device).expand_as(self.cholesky)
            return torch.linalg.solve_triangular(self.cholesky, eye, upper=False).mT
        return torch.linalg.solve_triangular(self.cholesky, self.matrix, upper=False).mT

    def deviate(self, e: Float[Tensor, "k n"]) -> Float[Tensor, "k d"]:
        """A draw of N(0, K_d^-1) for each problem from n = d + m standard normal numbers.

        If d <= m the first d of them are coloured by the Cholesky factor; if m < d a draw (u, e) of
        the joint prior is corrected by its own data, u - A^T K_m^-1 (A u + e).
        """
        p = self.cholesky.shape[-1]
        if self.matrix is None:
            u = e[:, :p, None]
            return torch.linalg.solve_triangular(self.cholesky.mT, u, upper=True)[..., 0]
        u, eta = e[:, :-p, None], e[:, -p:, None]
        t = torch.cholesky_solve(self.matrix @ u + eta, self.cholesky)
        return (u - self.matrix.mT @ t)[..., 0]
