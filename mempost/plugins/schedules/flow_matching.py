"""The straight path of flow matching, from data to standard normal noise.

In the time tau of the publications z = (1 - tau) x + tau e for tau in [0, 1], so that

    a = 1 - tau,    s = tau,    f = -1/(1 - tau),    g^2 = 2 tau/(1 - tau)    per unit of tau,

and sigma = tau/(1 - tau). At tau = 1 nothing of x is left, a = 0, and u = z/a does not exist. So
the schedule ends a little earlier: tau = t_max t with t in [0, 1], and the rates are multiplied by
t_max. The last level has sigma = t_max/(1 - t_max), 999 by default, where z is standard normal
noise to one part in a thousand. The rates grow to t_max/(1 - t_max) there: an explicit step of the
reverse SDE (``euler_maruyama``) has to be shorter than (1 - t_max)/t_max to be stable at the start;
steps in u and sigma are not concerned.

A model that predicts the velocity v = e - x says the same as a denoiser,
E[x | z] = z - tau E[v | z].

References: Lipman, Chen, Ben-Hamu, Nickel & Le 2023, "Flow matching for generative modeling"; Liu,
Gong & Liu 2023, "Flow straight and fast: learning to generate and transfer data with rectified
flow".
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from mempost.core.level import NoiseLevel
from mempost.core.publication import Publication
from mempost.core.schedule import NoiseSchedule, Time, as_time
from mempost.methods.bibliography import LIPMAN_2023_FLOW, LIU_2023_RECTIFIED


class FlowMatching(NoiseSchedule):
    """a = 1 - t_max t, s = t_max t (Lipman et al. 2023; Liu et al. 2023)."""

    publications: ClassVar[tuple[Publication, ...]] = (LIPMAN_2023_FLOW, LIU_2023_RECTIFIED)
    t_max: float = Field(
        0.999, gt=0, lt=1, description="noise at t = 1, where 1 - t_max of the signal is left"
    )

    def level(self, t: Time) -> NoiseLevel:
        tau = self._tau(t)
        return NoiseLevel(1 - tau, tau)

    def drift(self, t: Time) -> Tensor:
        return -self.t_max / (1 - self._tau(t))

    def diffusion_squared(self, t: Time) -> Tensor:
        tau = self._tau(t)
        return 2 * self.t_max * tau / (1 - tau)

    def _tau(self, t: Time) -> Tensor:
        return self.t_max * as_time(t)
