"""Decoupled annealing: draw x given z_t and the data, then noise it afresh.

If z_t has the law of z_t given y, if x is drawn from p(x | z_t, y), and z' = a' x + s' n with new
noise, then z' has the law of z_{t'} given y: steps do not inherit the path of the last ones and
may be long. The draw is approximate:

    p(x | z_t)  is taken as  N(xhat, r^2 I),        xhat by ``ode_steps`` of the probability flow,
    x  by Langevin steps   x <- x - (h/2) ((x - xhat)/r^2 - grad log p(y | x)) + sqrt(h) n,

started at xhat, with h = step_size / (1/r^2 + gain^2/gamma^2), which is stable for step_size < 4
where ``gain`` bounds the operator's derivative. By default its norm is taken at every xhat (of a
linear operator once), so that units of the data do not matter. The paper takes r^2 = s^2/a^2, which
is the covariance under a flat prior; with the ``prior_variance`` v of a coordinate, 1/r^2 = 1/v +
a^2/s^2. For a prior N(m, v I), a linear operator and one step of the flow the method is exact up to
the Langevin steps, whose bias is O(step_size).

Reference: Zhang, Chu, Berner, Meng, Anandkumar & Song 2024, "Improving diffusion inverse problem
solving with decoupled noise annealing".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core import flow
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.solver import Step
from mempost.core.streams import Stream
from mempost.methods.bibliography import ZHANG_2024_DAPS
from mempost.methods.chains.renoising import RenoisingSampler
from mempost.methods.chains.stiffness import data_stiffness


class DAPS(RenoisingSampler):
    """Decoupled annealing: Langevin draws of x around a denoised z, noised afresh every step.

    Noise level: used, at its true value. Assumes: p(x | z_t) is Gaussian with covariance r^2 I. Any
    differentiable operator. Cost of a step: ``ode_steps`` denoiser calls without derivative,
    ``langevin_steps`` forward maps and pullbacks, and for a nonlinear operator without ``gain`` six
    products with its Jacobian and their transposes.
    """

    tags = frozenset({"needs_gradient", "uses_noise_level"})
    publications = (ZHANG_2024_DAPS,)
    remedy = "take a smaller step_size, or a gain above the norm of the operator's derivative"

    ode_steps: int = Field(1, ge=1, description="of the flow to xhat; 1 is the denoised mean")
    langevin_steps: int = Field(20, ge=1)
    step_size: float = Field(
        0.3, gt=0, lt=4, description="of Langevin, in units of the smallest variance"
    )
    gain: float | None = Field(
        None,
        gt=0,
        description="bound on |dF/dx|, which keeps the steps stable; by default its norm at xhat",
    )
    prior_variance: float | None = Field(
        None, gt=0, description="v: variance of a coordinate of x; null for the paper's r = s/a"
    )

    def check(self, problem: InverseProblem) -> None:
        problem.gaussian("daps")

    def nfe(self, prior: FittedPrior) -> int:
        return self.steps * self.ode_steps + self.start.calls(prior)

    def estimate(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        centre = self._flow(problem, z, step)
        a, s = step.level.columns(z)
        precision = (a / s) ** 2 + (0 if self.prior_variance is None else 1 / self.prior_variance)
        gamma = problem.gaussian("daps").component_std
        if self.gain is None:
            stiffness = data_stiffness(problem, centre)[:, None]
        else:
            stiffness = torch.full_like(precision, (self.gain / gamma) ** 2)
        h = self.step_size / (precision + stiffness)
        x = centre
        for _ in range(self.langevin_steps):
            _, ascent = problem.misfit_ascent(x)
            noise = stream.normal(tuple(x.shape), x.dtype, x.device)
            x = x + h / 2 * (ascent / gamma**2 - precision * (x - centre)) + h.sqrt() * noise
        return x

    def _flow(self, problem: InverseProblem, z: Tensor, step: Step) -> Tensor:
        """The end of the probability flow from z, by Euler steps in s/a, equal in time."""
        times = [step.t * (1 - k / self.ode_steps) for k in range(1, self.ode_steps)]
        levels = [step.level, *map(self.schedule.level, times)]
        return flow.descend(problem.prior.denoise, z, levels, order=1)
