"""Every sampler as ``{type: NAME}`` alone, beside the exact posterior.

A cell is the standard deviation of the draws over the exact one, coordinate by coordinate the
smallest and the largest; ``refused`` where the method does not apply, with the reason in the last
column, and ``failed`` where it ends in an error. On digits it is exp of the entropy of the masses
of the training examples (1 is collapse onto one). A sampler that does not see the data
(``reverse_diffusion``) is held against the prior.

    figure 1 (h)     five points, F(x) = x + 0.3 x^3, y = 0, noise 0.3, of bandwidth h; quadrature
    plane            the pentagon of Figure 1, bandwidth 0.3, quadratic F; quadrature
    gaussian         three correlated unknowns, two linear data
    gain             N(m, I) in the plane, y = 10 x with noise of 5
    ten              N(0, I) in ten dimensions, five data, noise of a tenth of their size
    mixture          two unlike Gaussians in the plane, both coordinates observed
    digits           200 digits of 8 x 8 pixels, the lower half hidden, noise 0.1, bandwidth 0.05
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from mempost.core.errors import MempostError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.iterative import IterativeSampler
from mempost.core.memory import remember
from mempost.core.posterior import Posterior
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.sampler import PosteriorSampler
from mempost.core.streams import Streams
from mempost.experiments.worker import limited_threads
from mempost.methods.chains.markov_chain import MarkovChain
from mempost.methods.chains.preconditioner import prior_covariance
from mempost.methods.geometry.masses import responsibilities
from mempost.plugins.datasets.digits import Digits
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.mask import Mask
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.priors.gaussian import Gaussian
from mempost.plugins.priors.gaussian_mixture import GaussianMixture
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.quadrature import Quadrature

STREAMS = Streams(1, "sampling")


def run(quick: bool) -> list[dict[str, Any]]:
    """A row a sampler, a column a problem; ``quick`` draws a quarter, and leaves out digits."""
    with limited_threads(1):
        return _run(128 if quick else 512, quick)


def _run(n: int, quick: bool) -> list[dict[str, Any]]:
    problems = {name: make() for name, make in PROBLEMS.items()}
    if not quick and importlib.util.find_spec("sklearn") is not None:
        problems["digits"] = digits()
    return [row(name, sampler, problems, n) for name, sampler in samplers().items()]


def samplers() -> dict[str, PosteriorSampler]:
    """All that are registered and have defaults."""
    found: dict[str, PosteriorSampler] = {}
    for name in REGISTRIES["sampler"].names:
        try:
            found[name] = REGISTRIES["sampler"].get(name)()  # type: ignore[assignment]
        except ValidationError:  # something has to be given, such as what `distorted` distorts
            continue
    return found


def row(
    name: str, sampler: PosteriorSampler, problems: Mapping[str, InverseProblem], n: int
) -> dict[str, Any]:
    """What a sampler makes of every problem."""
    found: dict[str, Any] = {"sampler": name}
    reasons: list[str] = []
    for where, problem in problems.items():
        try:
            sampler.check(problem)
        except MempostError as error:
            found[where] = "refused"
            reasons.append(str(error))
            continue
        try:
            x = draws(sampler, problem, n)
        except (MempostError, RuntimeError) as error:
            found[where] = "failed"
            reasons.append(str(error))
            continue
        found[where] = (
            f"{modes(problem, x):.1f}" if where == "digits" else span(sampler, problem, x)
        )
    return {**found, "reason": "; ".join(dict.fromkeys(reasons)) or None}


def draws(sampler: PosteriorSampler, problem: InverseProblem, n: int) -> Tensor:
    """n draws, or a quarter as many chains; in one tile, which is faster and changes no law."""
    n = n // 4 if isinstance(sampler, MarkovChain) else n
    if isinstance(sampler, IterativeSampler):
        sampler = sampler.model_copy(update={"tile": n})
    return sampler.sample(problem, n, STREAMS).flat


def ratios(sampler: PosteriorSampler, problem: InverseProblem, x: Tensor) -> Tensor:
    """Standard deviations over the exact ones."""
    if not sampler.needs_question:
        return x.std(0) / prior_covariance(problem.prior).diagonal().sqrt()
    return x.std(0) / remember(lambda: exact(problem).std(), "exact", problem)


def span(sampler: PosteriorSampler, problem: InverseProblem, x: Tensor) -> str:
    """The smallest and the largest ratio."""
    found = ratios(sampler, problem, x)
    low, high = f"{float(found.min()):.2f}", f"{float(found.max()):.2f}"
    return low if low == high else f"{low} to {high}"


def exact(problem: InverseProblem) -> Posterior:
    """The exact posterior."""
    sampler = ExactLGM() if problem.operator.is_linear else Quadrature()
    return sampler.posterior(problem)


def modes(problem: InverseProblem, x: Tensor) -> float:
    """exp of the entropy of the masses of the components."""
    masses = responsibilities(problem.prior, x).mean(0)
    return math.exp(float(torch.special.entr(masses).sum()))


# -- problems -------------------------------------------------------------------------------------


def figure_1(bandwidth: float) -> InverseProblem:
    """Figure 1 a-c."""
    points = _float([[-1.5], [-0.4], [0.4], [1.2], [2.5]])
    operator = Polynomial(coefficients=[0, 1, 0, 0.3])
    prior = EmpiricalGMM(bandwidth=bandwidth).fit(points)
    return InverseProblem(prior, operator, GaussianNoise(0.3), _float([0.0]))


def plane() -> InverseProblem:
    """Figure 1 d-f."""
    angle = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    prior = EmpiricalGMM(bandwidth=0.3).fit(2 * torch.stack([angle.cos(), angle.sin()], -1))
    return InverseProblem(prior, Quadratic2D(), GaussianNoise(0.3), _float([1.4, 0.392]))


def gaussian() -> InverseProblem:
    """Three unknowns, two data."""
    covariance = [[1.0, 0.3, 0.1], [0.3, 0.5, -0.1], [0.1, -0.1, 0.8]]
    prior = Gaussian(mean=[0.5, -0.2, 0.1], covariance=covariance).fit()
    operator = Linear(matrix=[[1.0, 0.5, 0.0], [0.0, -0.4, 1.2]])
    return InverseProblem(prior, operator, GaussianNoise(0.4), _float([1.2, -0.6]))


def gain() -> InverseProblem:
    """The same as y = x with noise of 0.5, in other units of y."""
    prior = Gaussian(mean=[0.5, -1.0], covariance=[1.0, 1.0]).fit()
    operator = Linear(matrix=[[10.0, 0.0], [0.0, 10.0]])
    return InverseProblem(prior, operator, GaussianNoise(5.0), _float([9.0, 2.0]))


def ten() -> InverseProblem:
    """Half as many data as unknowns."""
    matrix = torch.randn(5, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior = Gaussian(mean=[0.0] * 10, covariance=1.0).fit()
    data = _float([1.0, -1.0, 0.5, 0.0, 2.0])
    return InverseProblem(prior, Linear(matrix=matrix), GaussianNoise(0.3), data)


def mixture() -> InverseProblem:
    """Two modes of the prior, of which the data leave both."""
    prior = GaussianMixture(
        weights=[0.4, 0.6],
        means=[[-1.0, 0.5], [1.5, -0.5]],
        covariances=[[[0.3, 0.1], [0.1, 0.2]], [[0.5, -0.2], [-0.2, 0.4]]],
    ).fit()
    return InverseProblem(prior, Identity(), GaussianNoise(0.6), _float([0.2, 0.1]))


def digits() -> InverseProblem:
    """Half an image of a digit that the prior has not seen."""
    data = Digits(n_train=200, n_held_out=8).load(Streams(7, "data"))
    prior = EmpiricalGMM(bandwidth=0.05).fit(data.train)
    operator = Mask(shape=(8, 8), pattern={"type": "half", "side": "bottom"})
    noise = GaussianNoise(0.1)
    y = noise.perturb(operator(data.held_out[3:4])[0], Streams(7, "noise").at())
    return InverseProblem(prior, operator, noise, y)


def _float(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


PROBLEMS: dict[str, Callable[[], InverseProblem]] = {
    "figure 1 (0.5)": lambda: figure_1(0.5),
    "figure 1 (0.3)": lambda: figure_1(0.3),
    "plane": plane,
    "gaussian": gaussian,
    "gain": gain,
    "ten": ten,
    "mixture": mixture,
}
