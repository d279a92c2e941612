"""The reverse diffusion: from noise to samples of p(x | y), step by step.

The forward process z_t = a x + s e obeys dz = f z dt + g dW. Run backwards from t = 1, with the
score S = grad log p(z_t | y) = grad log p(z_t) + grad log p(y | z_t), it is

    dz = (f z - g^2 S) dt + g dW            (reverse SDE, Anderson 1982)
    dz = (f z - g^2 S / 2) dt               (probability flow ODE, Song et al. 2021)

The posterior score and the guided denoiser m_y = E[x | z_t, y] determine each other (Tweedie),

    S = (a m_y - z)/s^2,       m_y = E[x | z_t] + (s^2/a) grad log p(y | z_t),

and the integrators are written in m_y. In the variables u = z/a and sigma = s/a the flow is
du/dsigma = (u - m_y)/sigma. One step goes from (a, s) at t to (a', s') at t' = t - h:

    ddim            z' = a' m_y + sqrt(s'^2 - c^2) e + c n,   e = (z - a m_y)/s,
                    c = eta (s'/s) sqrt(s^2 - (a/a')^2 s'^2)       Euler in sigma for eta = 0
    euler_maruyama  z' = z - h (f z - g^2 S) + sqrt(h) g n
    heun            u' = u + (sigma' - sigma)(d + d')/2,
                    d = (u - m_y)/sigma, d' the same after the ddim step

ddim and euler_maruyama are of first order in h, heun of second. All of them ask for the guided
denoiser once a step, heun twice. The last step leads to the clean level (``final: denoise``), where
every method gives z' = m_y, or to t_min like the steps before (``final: stop``).

References: Anderson 1982, "Reverse-time diffusion equation models"; Song, Sohl-Dickstein, Kingma,
Kumar, Ermon & Poole 2021, "Score-based generative modeling through stochastic differential
equations"; Song, Meng & Ermon 2021, "Denoising diffusion implicit models"; Karras, Aittala, Aila &
Laine 2022, "Elucidating the design space of diffusion-based generative models".
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.denoised import Denoised
from mempost.core.fields import PluginField, named
from mempost.core.iterative import IterativeSampler, SamplerState
from mempost.core.noise import CLEAN, NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.sampler import require_finite
from mempost.core.schedule import NoiseSchedule
from mempost.core.streams import TILE, Stream

Final = Literal["denoise", "stop"]


class Step(NamedTuple):
    """A step of the reverse process from time ``t`` to ``t_next`` (0 for the clean level)."""

    t: float
    t_next: float
    level: NoiseLevel
    next_level: NoiseLevel
    drift: float
    diffusion_squared: float

    @property
    def is_clean(self) -> bool:
        """Whether the step leads to the clean level, z = x."""
        return self.next_level is CLEAN


@lru_cache(maxsize=64)
def reverse_steps(
    schedule: NoiseSchedule, steps: int, t_min: float, final: Final
) -> tuple[Step, ...]:
    """The steps from t = 1 down, equally spaced in time; ``denoise`` ends with t_min -> clean."""
    clean = final == "denoise"
    t = schedule.times(steps - clean, t_min)
    level, f, g2 = schedule.level(t), schedule.drift(t), schedule.diffusion_squared(t)
    levels = [
        NoiseLevel(a, s)
        for a, s in zip(torch.as_tensor(level.a).tolist(), torch.as_tensor(level.s).tolist())
    ]
    times = t.tolist()
    if clean:
        times, levels = [*times, 0.0], [*levels, CLEAN]
    return tuple(
        Step(times[k], times[k + 1], levels[k], levels[k + 1], float(f[k]), float(g2[k]))
        for k in range(steps)
    )


class ReverseSampler(IterativeSampler):
    """Reverse diffusion; guided samplers override ``likelihood_score``.

    As it stands it is unconditional. A guided sampler gives grad log p(y | z_t), or overrides
    ``guided_denoise`` where E[x | z_t, y] itself is known. The state is z, and the particles
    kept at the times in ``trace``.
    """

    schedule: Annotated[NoiseSchedule, PluginField("schedule")] = Field(
        default_factory=named("schedule", "vp")
    )
    steps: int = Field(
        200, ge=1, description="steps, each with one denoiser call (heun: two)", examples=[12]
    )
    method: Literal["ddim", "euler_maruyama", "heun"] = "ddim"
    eta: float = Field(
        0.0, ge=0, le=1, description="noise of ddim: 0 is the flow, 1 ancestral sampling"
    )
    t_min: float = Field(1e-3, ge=0, lt=1, description="the last noisy time")
    start: Literal["marginal", "noise", "standard_normal"] = Field(
        "marginal",
        description="z_1 is a x + s e with x from the prior (marginal), s e (noise), or N(0, I)",
    )
    final: Final = Field(
        "denoise",
        description="the last step goes to the clean level, or stops at t_min and gives z/a",
    )
    trace: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (), description="times at which particles are kept: z after the step that reaches each"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.eta > 0 and self.method != "ddim":
            raise ValueError(f"eta is a parameter of ddim, and the method is {self.method}")
        if not float(self.schedule.level(self.t_min).s) > 0:
            raise ValueError(
                f"t_min = {self.t_min:g} has no noise in this schedule; it should be above 0"
            )
        if self.final == "stop" and any(t < self.t_min for t in self.trace):
            raise ValueError(
                f"trace holds a time below t_min = {self.t_min:g}, where the run stops"
            )
        return self

    # -- for authors of guided samplers ---------------------------------------------------------

    def likelihood_score(
        self, problem: InverseProblem, at: Denoised
    ) -> Float[Tensor, "batch d"] | None:
        """grad log p(y | z_t) at ``at.z``, row by row; None where the data are not used.

        ``at`` gives E[x | z_t], products with its Jacobian and with Cov[x | z_t] for one denoiser
        call in all.
        """
        return None

    def guided_denoise(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], level: NoiseLevel
    ) -> Float[Tensor, "batch d"]:
        """E[x | z_t, y], by default from ``likelihood_score``."""
        at = Denoised(problem.prior, z, level)
        score = self.likelihood_score(problem, at)
        if score is None:
            return problem.prior.denoise(z, level)
        require_finite(at.mean, "denoised mean")
        require_finite(score, "likelihood score")
        return at.mean + at.s**2 / at.a * score

    def correct(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        """A correction of z at the level that ``step`` has led to; none by default."""
        return z

    # -- the iteration ----------------------------------------------------------------------------

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def nfe(self) -> int:
        """One call a step, with heun two; a guided sampler that makes more adds them."""
        if self.method == "heun":
            return 2 * self.steps - (self.final == "denoise")
        return self.steps

    @property
    def reverse_steps(self) -> tuple[Step, ...]:
        """The steps in order, step k at index k - 1."""
        return reverse_steps(self.schedule, self.steps, self.t_min, self.final)

    @property
    def traced_steps(self) -> tuple[Step, ...]:
        """For every time in ``trace`` the step that reaches it, after which z is kept."""
        return tuple(
            next(step for step in self.reverse_steps if _reaches(step, t)) for t in self.trace
        )

    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        prior, level = problem.prior, self.reverse_steps[0].level
        if self.start == "marginal":
            z = level.perturb(prior.draw_tile(stream), stream)
        else:
            z = stream.normal((TILE, prior.dimension), prior.dtype, prior.device)
            z = z * level.s if self.start == "noise" else z
        if not self.trace:
            return {"z": z}
        return {"z": z, "trace": z.new_zeros(len(z), len(self.trace), z.shape[1])}

    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        step = self.reverse_steps[k - 1]
        z = self.move(problem, state["z"], step, stream)
        z = self.correct(problem, z, step, stream)
        passed = [i for i, t in enumerate(self.trace) if _reaches(step, t)]
        if not passed:
            return {**state, "z": z}
        trace = state["trace"].clone()
        trace[:, passed] = z[:, None]
        return {"z": z, "trace": trace}

    def draw(
        self, problem: InverseProblem, state: SamplerState
    ) -> tuple[Float[Tensor, "batch d"], dict[str, Tensor]]:
        stats = {"trace": state["trace"]} if self.trace else {}
        return state["z"] / self.reverse_steps[-1].next_level.a, stats

    def move(
        self, problem: InverseProblem, z: Float[Tensor, "batch d"], step: Step, stream: Stream
    ) -> Float[Tensor, "batch d"]:
        """z at the next level by the integrator; methods with another way to go override it."""
        mean = self.guided_denoise(problem, z, step.level)
        require_finite(mean, "guided denoiser")
        if step.is_clean:
            return mean
        if self.method == "euler_maruyama":
            return _euler_maruyama(z, mean, step, stream)
        if self.method == "ddim":
            return _ddim(z, mean, step, self.eta, stream)
        predicted = _ddim(z, mean, step, 0.0, stream)
        next_mean = self.guided_denoise(problem, predicted, step.next_level)
        return _heun(z, mean, predicted, next_mean, step)


def _ddim(z: Tensor, mean: Tensor, step: Step, eta: float, stream: Stream) -> Tensor:
    (a, s), (a_next, s_next) = _numbers(step.level), _numbers(step.next_level)
    residual = (z - a * mean) / s
    if eta == 0:
        return a_next * mean + s_next * residual
    c = eta * s_next / s * math.sqrt(max(s**2 - (a / a_next * s_next) ** 2, 0.0))
    noise = stream.normal(tuple(z.shape), z.dtype, z.device)
    return a_next * mean + math.sqrt(s_next**2 - c**2) * residual + c * noise


def _euler_maruyama(z: Tensor, mean: Tensor, step: Step, stream: Stream) -> Tensor:
    a, s = _numbers(step.level)
    h, g2 = step.t - step.t_next, step.diffusion_squared
    score = (a * mean - z) / s**2
    noise = stream.normal(tuple(z.shape), z.dtype, z.device)
    return z - h * (step.drift * z - g2 * score) + math.sqrt(h * g2) * noise


def _heun(z: Tensor, mean: Tensor, z_next: Tensor, next_mean: Tensor, step: Step) -> Tensor:
    (a, s), (a_next, s_next) = _numbers(step.level), _numbers(step.next_level)
    slope = (z - a * mean) / s
    next_slope = (z_next - a_next * next_mean) / s_next
    return a_next * (z / a + (s_next / a_next - s / a) * (slope + next_slope) / 2)


def _reaches(step: Step, t: float) -> bool:
    return step.t_next <= t + 1e-9 < step.t


def _numbers(level: NoiseLevel) -> tuple[float, float]:
    return float(level.a), float(level.s)


__all__ = ["Denoised", "ReverseSampler", "Step", "reverse_steps"]
