"""grad log p(y | z_t) is taken as J^T A^T (y - F(m)) / (gamma^2 + v), v = c s^2/(a^2 + s^2)."""

from pydantic import Field

from mempost import Guidance


class Widened(Guidance):
    """The likelihood at the denoised mean, as wide as the noise and what is left to denoise."""

    tags = frozenset({"uses_noise_level", "needs_gradient"})
    c: float = Field(1.0, gt=0, description="variance of F(x) under the prior")

    def likelihood_score(self, problem, at):
        _, ascent = problem.misfit_ascent(at.mean)
        left = self.c * at.s**2 / (at.a**2 + at.s**2)
        return at.vjp(ascent / (problem.noise.component_std**2 + left))
