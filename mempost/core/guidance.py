"""Guidance: from an inverse problem to the conditional denoiser E[x | z_t, y].

The posterior score and the conditional denoiser determine each other (Tweedie),

    m_y = E[x | z_t, y] = E[x | z_t] + (s^2/a) grad log p(y | z_t),

and methods differ in what they put for grad log p(y | z_t). A `Guidance` gives it, or m_y itself; a
`Correction` leaves the step to the prior and moves z afterwards. Neither knows how z is moved from
level to level: that is the `Solver`'s part.

Reference: Efron 2011, "Tweedie's formula and selection bias".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor

from mempost.core.denoised import Denoised
from mempost.core.errors import PluginError
from mempost.core.flow import Denoise
from mempost.core.level import NoiseLevel
from mempost.core.plugin import Plugin
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.core.solver import Step


class Guidance(Plugin, ABC):
    """A conditional denoiser; authors override ``likelihood_score``, or ``denoiser`` as a whole."""

    remedy: ClassVar[str] = "take more steps, or a guidance that cannot overshoot (gauss_newton)"
    """What to change where paths diverge under it: the end of the message."""

    def check(self, problem: InverseProblem) -> None:
        """Raise `PluginError` if the method does not apply to the problem."""

    def likelihood_score(self, problem: InverseProblem, at: Denoised) -> Float[Tensor, "batch d"]:
        """grad log p(y | z_t) at ``at.z``, row by row.

        ``at`` gives E[x | z_t], products with its Jacobian and with Cov[x | z_t] for one denoiser
        call in all.
        """
        raise PluginError(f"{type(self).__name__} overrides neither likelihood_score nor denoiser")

    def denoiser(self, problem: InverseProblem) -> Denoise:
        """E[x | z_t, y] as a function of state and level, by default from ``likelihood_score``."""

        def denoise(z: Tensor, level: NoiseLevel) -> Tensor:
            at = problem.prior.at(z, level)
            score = self.likelihood_score(problem, at)
            require_finite(at.mean, "denoised mean")
            require_finite(score, "likelihood score")
            return at.mean + at.s**2 / at.a * score

        return denoise


class Correction(Guidance):
    """A move after every step of a solver with fixed steps; authors override ``correct``."""

    @final
    def denoiser(self, problem: InverseProblem) -> Denoise:
        """E[x | z_t]: the step itself does not see the data."""
        return problem.prior.denoise

    @abstractmethod
    def correct(
        self,
        problem: InverseProblem,
        at: Denoised,
        z_next: Float[Tensor, "batch d"],
        step: Step,
    ) -> Float[Tensor, "batch d"]:
        """The state at ``step.next_level``, corrected.

        Args:
            problem: what is asked.
            at: the state ``at.z`` before the step, at ``step.level``, with E[x | z] and products
                with its Jacobian; the step has asked for them already.
            z_next: what the step made of it.
            step: from which level to which.
        """

    def calls(self, step: Step) -> int:
        """Denoiser calls of `correct` besides the one that it shares with the step."""
        return 0
