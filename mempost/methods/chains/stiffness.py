"""Stiffness: the largest curvature of a negative log density, which limits an explicit step.

With the whitened Jacobian A of F at x, the data curve -log p(y | x) by A^T A (Gauss-Newton), at
most by |A|^2. Noise that is not Gaussian curves it by J^T H J, with the Jacobian J of F and the
Hessian H of -log p(y | f) at f = y, where that of heavy tails is largest. A mixture prior with
noise of standard deviation s curves by at most 1/v, where v is s^2 plus the smallest variance of a
component; any prior with s > 0 by at most 1/s^2; of others the Hessian of the log density is asked.
An Euler step of length h is stable while h times the curvature is below 2.

The largest eigenvalue is found by iterating H on a vector, row by row: |H v|/|v| rises to it and
stays below. A few iterations find it to a factor of two, and steps leave a wider margin than that.

Reference: Golub & Van Loan 2013, "Matrix computations", section 8.2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.autodiff import Product, value_and_products, value_and_pullback
from mempost.core.capabilities import HasBandwidth, HasComponents, IsGaussian, ask
from mempost.core.level import NoiseLevel
from mempost.core.memory import remember
from mempost.core.noise import stack, unstack
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem

ITERATIONS = 6


def data_curvature(problem: InverseProblem, x: Float[Tensor, "batch d"]) -> Product:
    """v -> A^T A v at x; of noise that is not Gaussian, v -> J^T H J v."""
    if ask(problem.noise, IsGaussian) is not None:
        _, jvp, vjp = value_and_products(problem.whitened_residual, x)
        return lambda v: vjp(jvp(v))
    y = problem.y.flatten()
    _, jvp, vjp = value_and_products(lambda u: stack(problem.forward(u)), x)
    _, hessian = value_and_pullback(lambda f: _slope(problem, f), stack(y).expand(len(x), -1))
    return lambda v: -vjp(hessian(jvp(v)))


def _slope(problem: InverseProblem, f: Float[Tensor, "batch m"]) -> Tensor:
    """The gradient of log p(y | f) in f, stacked, which can be differentiated again."""
    values = unstack(f) if problem.y.is_complex() else f
    log_p = problem.noise.log_density(problem.y.flatten(), values)
    return torch.autograd.grad(log_p.sum(), f, create_graph=True)[0]


def prior_curvature(prior: FittedPrior, x: Float[Tensor, "batch d"], smoothing: float) -> Product:
    """v -> v/v_0 with the bound where there is one, or minus the Hessian of log p times v at x."""
    mixture = ask(prior, HasComponents)
    bound = smoothing**2 + (0.0 if mixture is None else _smallest_variance(mixture))
    if bound > 0:
        return lambda v: v / bound
    level = NoiseLevel(1.0, smoothing)

    def slope(u: Tensor) -> Tensor:
        return torch.autograd.grad(prior.log_density(u, level).sum(), u, create_graph=True)[0]

    _, hessian = value_and_pullback(slope, x)
    return lambda v: -hessian(v)


def data_stiffness(problem: InverseProblem, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
    """|A|^2 at x, row by row; the same everywhere for a linear operator, and found once."""
    if not problem.operator.is_linear:
        return largest_eigenvalue(data_curvature(problem, x), first_guess(x))[0]

    def make() -> Tensor:
        origin = x.new_zeros(1, x.shape[1])
        return largest_eigenvalue(data_curvature(problem, origin), first_guess(origin), 50)[0]

    where = (problem.prior.shape, x.dtype, x.device)
    return remember(make, "stiffness", problem.operator, problem.noise, *where).expand(len(x))


def first_guess(x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
    """Where the iteration starts: one vector for all rows, with a part in every direction."""
    wave = torch.arange(1, x.shape[1] + 1, dtype=torch.float64).sqrt().sin() + 1.5
    return wave.to(x).expand_as(x)


def largest_eigenvalue(
    H: Product, v: Float[Tensor, "batch d"], iterations: int = ITERATIONS
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch d"]]:
    """Of a symmetric H the size of the largest eigenvalue, and H v, from which to go on."""
    smallest = torch.finfo(v.dtype).tiny
    for _ in range(iterations):
        v = H(v / v.norm(dim=-1, keepdim=True).clamp(min=smallest))
    return v.norm(dim=-1), v


def _smallest_variance(mixture: HasComponents, chunk: int = 256) -> float:
    """The smallest eigenvalue of the covariances of all components."""
    kernels = ask(mixture, HasBandwidth)
    if kernels is not None:
        return kernels.bandwidth**2

    def make() -> float:
        n, d = mixture.means.shape
        index = torch.arange(1 if mixture.shared_covariance else n, device=mixture.device)
        eye = torch.eye(d, dtype=mixture.dtype, device=mixture.device)
        parts = (mixture.factor_product(i, eye.expand(len(i), d, d)) for i in index.split(chunk))
        return min(float(torch.linalg.svdvals(L).min()) for L in parts) ** 2

    return remember(make, "smallest variance", mixture)
