"""How fast a flow converges to the training example on which it ends: slope and constant.

For a path that ends on x* the distance falls like K e^-s in s = -log sigma, once the path has
crossed its last cell and noise is small against the distance D from x* to the nearest other
example. The slope of log|u - x*| is fitted by least squares over

    max(last crossing, log(factor / D))  <=  s  <=  until,

and K = |u - x*| e^s is taken at the level nearest to ``at``. Over atoms the slope is -1 and K is
the conserved distance from x* in units of sigma; a regularised flow has another slope, and stops.

Reference: Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in
generative diffusion models" (corollary to the main theorem).
"""

from __future__ import annotations

import torch
from pydantic import Field

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import BAPTISTA_2025_MEMORIZATION
from mempost.methods.geometry.paths import Paths
from mempost.methods.statistics.slopes import slopes

SLOPES, CONSTANTS = (0.0, 0.5, 1.0), (0.05, 0.5, 0.95)
FEWEST = 3
"""Levels of a fit."""


class Convergence(Metric):
    """Slope of log distance to the limit against s = -log sigma, and the constant K.

    Needs a sampler that keeps states, say ``save: {dense: 200}``. Columns
    ``convergence_slope_q`` (quantiles 0, 0.5 and 1 over paths), ``convergence_constant_q`` (0.05,
    0.5, 0.95) and ``convergence_paths``, the number of paths whose window holds three levels or
    more. For pictures the distance of the first ``paths`` paths to their limits, all slopes and
    constants, and the limits. In the prior's coordinates.
    """

    publications = (BAPTISTA_2025_MEMORIZATION,)

    factor: float = Field(10.0, gt=0, description="D over sigma where the fit begins")
    until: float = Field(12.0, description="s where the fit ends")
    at: float = Field(8.0, description="s at which K is taken")
    paths: int = Field(50, ge=1, description="paths whose distances are kept for pictures")

    def evaluate(self, result: Result) -> Measured:
        paths = Paths.of(result)
        if paths is None:
            return Measured()
        limit = paths.nearest[:, -1]
        distance, s = paths.distances(limit), paths.s
        start = torch.maximum(paths.last_crossing, (self.factor / paths.apart[limit]).log())
        window = (s >= start[:, None]) & (s <= self.until) & (distance > 0)
        fitted = window.sum(1) >= FEWEST
        if not fitted.any():
            return Measured()
        slope = slopes(s, distance.clamp(min=1e-300).log(), window)[fitted]
        k = int((s - self.at).abs().argmin())
        constant = (distance[:, k] / paths.sigma[k])[fitted]
        drawn = {
            "path_slope": ("fitted", slope),
            "path_constant": ("fitted", constant),
            "path_limit": ("path", paths.numbers[limit][: self.paths]),
            "path_distance": (("path", "sigma"), distance[: self.paths]),
        }
        return Measured(
            {
                "convergence_slope": ("rank", torch.quantile(slope, slope.new_tensor(SLOPES))),
                "convergence_constant": (
                    "quantile",
                    torch.quantile(constant, constant.new_tensor(CONSTANTS)),
                ),
                "convergence_paths": int(fitted.sum()),
                **drawn,
            },
            {"rank": SLOPES, "quantile": CONSTANTS, "sigma": paths.sigma.tolist()},
            unlisted=drawn,
        )
