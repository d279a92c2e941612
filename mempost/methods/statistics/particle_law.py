"""A sampler's particles at the levels that it keeps, beside the exact law of z_t given the data.

Every reverse sampler keeps particles z_t at the levels that its ``save`` names. With the exact law
(see `diffused`) at the level that was really reached,

    spread       (mean over coordinates of Var z_t)^(1/2)
    bias         (mean over coordinates of (E z_t - exact)^2)^(1/2)
    w1           int |F_n(g) - F(g)| dg on a grid in one dimension, against the exact distribution
                 function; the sliced distance to exact draws otherwise
    w1_null      the same distance for as many exact draws: its floor

w1 against t is the error against the stopping time: what is wrong if the run stops there, apart
from the noise that is still on z_t.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.capabilities import CanIntegrate, ask
from mempost.core.errors import PluginError
from mempost.core.memory import remember
from mempost.core.posterior import Posterior
from mempost.core.result import Result
from mempost.core.streams import Streams
from mempost.methods.posteriors.diffused import Diffused
from mempost.methods.statistics.distances import directions, sliced_wasserstein
from mempost.methods.statistics.thinning import thin_rows

GRID = 501
_STEP = 2
"""Step of the metric streams for the noise of exact draws."""


@dataclass(frozen=True, eq=False)
class ParticleLaw:
    """Particles at one level and the exact law there.

    Attributes:
        t: the time that ``save`` names.
        particles: z_t (n, d).
        exact: p(z_t | y).
    """

    t: float
    particles: Float[Tensor, "n d"]
    exact: Diffused

    @property
    def mean(self) -> Float[Tensor, " d"]:
        return self.particles.mean(0)

    @property
    def spread(self) -> float:
        return float(self.particles.var(0).mean().sqrt())

    @property
    def exact_spread(self) -> float:
        return float(self.exact.std().square().mean().sqrt())

    @property
    def bias(self) -> float:
        return float((self.mean - self.exact.mean()).square().mean().sqrt())

    def distances(self, streams: Streams, draws: int, count: int) -> tuple[float, float]:
        """w1 and w1_null; by ``count`` directions and at most ``draws`` particles if sliced."""
        z, d = self.particles, self.particles.shape[1]
        noise = [streams.at(tile=i, step=_STEP) for i in range(2)]
        if d == 1 and ask(self.exact.posterior, CanIntegrate) is not None:
            x = _exact_draws(self.exact.posterior, len(z), streams)
            other = self.exact.level.perturb(x, noise[0])
            return self._on_grid(z), self._on_grid(other)
        z = thin_rows(z, draws)
        both = _exact_draws(self.exact.posterior, 2 * len(z), streams).split(len(z))
        y, other = (self.exact.level.perturb(x, e) for x, e in zip(both, noise))
        along = directions(d, count, streams.at(tile=2, step=_STEP)).to(z)
        weights = z.new_full((1, len(z)), 1 / len(z))
        signed = torch.cat([weights, -weights], 1)

        def distance(x: Tensor) -> float:
            return float(sliced_wasserstein(torch.cat([x, y]), signed, along)[0])

        return distance(z), distance(other)

    def _on_grid(self, z: Float[Tensor, "n 1"]) -> float:
        low, high = self.window
        low, high = min(low, float(z.min())), max(high, float(z.max()))
        grid = torch.linspace(low, high, GRID, dtype=z.dtype, device=z.device)
        empirical = torch.searchsorted(z[:, 0].sort().values, grid, right=True) / len(z)
        return float(torch.trapezoid((empirical - self.exact.cdf(grid)).abs(), grid))

    @property
    def window(self) -> tuple[float, float]:
        """An interval that holds the exact law in one dimension."""
        mean, std = float(self.exact.mean()[0]), float(self.exact.std()[0])
        return mean - 8 * std, mean + 8 * std


def _exact_draws(posterior: Posterior, n: int, streams: Streams) -> Float[Tensor, "n d"]:
    """The same exact draws at every level and for every sampler."""
    return remember(lambda: posterior.sample(n, streams), "exact draws", posterior, n, streams)


def particle_laws(
    result: Result, reference: str, times: tuple[float, ...] | None = None
) -> list[ParticleLaw]:
    """The particles of a result at the times that it keeps, or at those of them in ``times``.

    Empty where the sampler keeps none.

    Raises:
        PluginError: the reference has no posterior in closed form.
    """
    path = result.samples.trajectory
    if path is None:
        return []
    posterior = result.sibling(reference).posterior
    if posterior is None:
        raise PluginError(f"the reference {reference!r} has no posterior in closed form")
    return [
        ParticleLaw(t, path.states(i), Diffused(posterior, path.level(i)))
        for i, t in enumerate(path.t.tolist())
        if path.s[i] > 0 and (times is None or t in times)
    ]
