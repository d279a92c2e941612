"""Bayes' rule for a standard normal u observed through a matrix: r = A u + e, e ~ N(0, I_m).

With K_d = I_d + A^T A and K_m = I_m + A A^T (Woodbury's identity),

    u | r  ~  N(u*, K_d^-1),       u* = K_d^-1 A^T r = A^T K_m^-1 r        (push-through identity)
    r      ~  N(0, K_m),           r^T K_m^-1 r = |r - A u*|^2 + |u*|^2
                                   log det K_m = log det K_d               (determinant lemma)

Every component of a linearised Gaussian mixture is this problem in the coordinates of its own
factor. Only the smaller of K_d and K_m is factorised, for a batch of problems at once.

Rounding. Everything here is done in double precision, whatever the problem's is. K = R^T R comes
from the QR decomposition of [A; I], so that A is never squared (Bjoerck 1996, "Numerical methods
for least squares problems", section 2.7). Sums of squares take the place of differences: with
t = K_m^-1 A v the variance along v is

    v^T K_d^-1 v  =  |v|^2 - |R^-T A v|^2  =  |v - A^T t|^2 + |t|^2,

and the second form keeps its digits where the data leave nothing of |v|^2; it is stationary in t.

Where d <= m, the statistics G = A^T A, t = A^T r and q = |r|^2 will do, without A and r:

    u* = (I + G)^-1 t,      r^T K_m^-1 r = q - 2 t^T u* + u*^T (I + G) u*

which is stationary in u*, so that an error of u* counts squared; differences of q cancel, which
leaves a rounding error of q times the unit roundoff (1e-10 for q = 1e6).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GaussianUpdate:
    """Factorised updates of k problems with d unknowns and m data; answers are double.

    Attributes:
        cholesky: lower factors of K_d (k, d, d) if d <= m, else of K_m (k, m, m); double.
        matrix: A (k, m, d) if m < d, in the problem's precision; not needed otherwise.
    """

    cholesky: Float[Tensor, "k p p"]
    matrix: Float[Tensor, "k m d"] | None

    @classmethod
    def of(cls, a: Float[Tensor, "k m d"]) -> GaussianUpdate:
        """Factorise the smaller of K_d and K_m."""
        m, d = a.shape[-2:]
        tall = (a if d <= m else a.mT).double()
        eye = torch.eye(min(m, d), dtype=tall.dtype, device=a.device).expand(len(a), -1, -1)
        upper = torch.linalg.qr(torch.cat([tall, eye], -2), mode="r").R
        signs = upper.diagonal(dim1=-2, dim2=-1).sign()
        return cls(upper.mT * signs[:, None], None if d <= m else a)

    @classmethod
    def of_gram(cls, gram: Float[Tensor, "k d d"]) -> GaussianUpdate:
        """Factorise K_d = I + G from G = A^T A."""
        eye = torch.eye(gram.shape[-1], dtype=torch.float64, device=gram.device)
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
        a, r = a.double(), r.double()
        if self.matrix is None:
            u = torch.cholesky_solve(a.mT @ r, self.cholesky)
            u = u + torch.cholesky_solve(a.mT @ (r - a @ u) - u, self.cholesky)
        else:
            u = a.mT @ self._solve_data(a, r)
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
        v = v.double()
        if self.matrix is None:
            return (self.cholesky.mT @ v).square().sum(-2)
        return v.square().sum(-2) + (self.matrix.double() @ v).square().sum(-2)

    def root(self, v: Float[Tensor, "k d c"]) -> Float[Tensor, "k q c"]:
        """B v with B^T B = K_d^-1; q = d if d <= m, else d + m."""
        v = v.double()
        if self.matrix is None:
            return torch.linalg.solve_triangular(self.cholesky, v, upper=False)
        a = self.matrix.double()
        t = self._solve_data(a, a @ v)
        return torch.cat([v - a.mT @ t, t], -2)

    @property
    def explained(self) -> Float[Tensor, "k d m"] | None:
        """Where m < d, C with |C^T v|^2 = |v|^2 - v^T K_d^-1 v: what the data take away along v."""
        if self.matrix is None:
            return None
        a = self.matrix.double()
        return torch.linalg.solve_triangular(self.cholesky, a, upper=False).mT

    def _solve_data(self, a: Tensor, r: Tensor) -> Tensor:
        """K_m^-1 r where m < d, with one step of refinement."""
        t = torch.cholesky_solve(r, self.cholesky)
        return t + torch.cholesky_solve(r - a @ (a.mT @ t) - t, self.cholesky)

    def deviate(self, e: Float[Tensor, "k n"]) -> Float[Tensor, "k d"]:
        """A draw of N(0, K_d^-1) for each problem from n = d + m standard normal numbers.

        If d <= m the first d of them are coloured by the Cholesky factor; if m < d a draw (u, e) of
        the joint prior is corrected by its own data, u - A^T K_m^-1 (A u + e).
        """
        p, e = self.cholesky.shape[-1], e.double()
        if self.matrix is None:
            u = e[:, :p, None]
            return torch.linalg.solve_triangular(self.cholesky.mT, u, upper=True)[..., 0]
        a, u, eta = self.matrix.double(), e[:, :-p, None], e[:, -p:, None]
        return (u - a.mT @ self._solve_data(a, a @ u + eta))[..., 0]
