"""From one point of a study to its inverse problem: operator, truth, noise, observation.

A study that asks no question has the prior alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mempost.core.capabilities import IsGaussian, ask
from mempost.core.dataset import Data
from mempost.core.errors import MempostError, SpecError
from mempost.core.noise import NoiseLaw, NoiseRecipe
from mempost.core.operator import ForwardOperator
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.shapes import fits
from mempost.core.streams import Streams
from mempost.experiments.question import Observation, Question
from mempost.experiments.setting import Setting
from mempost.experiments.truths import truth_of, with_shape


@dataclass(frozen=True, eq=False)
class Setup:
    """A problem with the data and the truth it came from, all in the prior's coordinates.

    Attributes:
        problem: the prior, and what is asked of it.
        data: training and held-out examples, or None.
        truth: the x that the data were simulated from (d,), or None.
        simulator: what simulated them, or None if nothing is asked.
    """

    problem: InverseProblem
    data: Data | None
    truth: Tensor | None = None
    simulator: ForwardOperator | None = None

    def simulate(self, x: Tensor) -> Tensor:
        """Data of one x (d,) without noise, as the observation simulates them."""
        simulator = self.simulator or self.problem.operator
        return simulator(x.reshape(1, *self.problem.prior.shape))[0]


def build(
    setting: Setting, data: Data | None, prior: FittedPrior, rehearsed: bool = False
) -> Setup:
    """Compose the problem and observe its data.

    Args:
        setting: what a point of the study says.
        data: the examples in raw coordinates.
        prior: the fitted prior.
        rehearsed: simulate nothing; ones with noise stand in for the data.

    Raises:
        SpecError: truth, values, shapes or noise do not fit together, and where.
    """
    examples, question = in_coordinates(data, prior), setting.question
    if question is None:
        return Setup(InverseProblem(prior), examples)
    operator = _resolved(question.operator, prior, "operator")
    simulator = _simulator(question, prior, operator)
    observation = question.observation
    shape, dtype = operator.range_shape(prior.shape), _dtype(setting, operator)
    if observation.truth is None:
        y = _without_missing(_given(observation, shape, dtype, setting.device), observation)
        law = _noise(question.noise, y)
        _require_resolved(law, y)
        return Setup(InverseProblem(prior, operator, law, y), examples, None, simulator)
    truth = prior.coordinates.from_raw(truth_of(observation.truth, setting, data, prior))
    if rehearsed:
        f = torch.ones(shape, dtype=dtype, device=setting.device)
    else:
        f = simulator(truth.reshape(1, *prior.shape))[0]
    y = f = _without_missing(f, observation)
    law = _noise(question.noise, f)
    if observation.noisy or rehearsed:
        stream = Streams(setting.observation_seed, "noise").at()
        y = law.perturb(f.flatten(), stream).reshape(shape)
    if not rehearsed:
        _require_resolved(law, y)
    return Setup(InverseProblem(prior, operator, law, y), examples, truth, simulator)


def rebuild(common: Setup, setting: Setting, data: Data | None, prior: FittedPrior) -> Setup:
    """The same data and truth under another prior, in that prior's coordinates."""
    examples, question = in_coordinates(data, prior), setting.question
    if question is None:
        return Setup(InverseProblem(prior), examples)
    operator = _resolved(question.operator, prior, "operator")
    truth = common.truth
    if truth is not None:
        raw = common.problem.prior.coordinates.to_raw(truth)
        truth = prior.coordinates.from_raw(raw)
    problem = InverseProblem(prior, operator, common.problem.noise, common.problem.y)
    return Setup(problem, examples, truth, _simulator(question, prior, operator))


def in_coordinates(data: Data | None, prior: FittedPrior) -> Data | None:
    """Examples in the coordinates of a prior."""
    if data is None:
        return None
    shape = tuple(data.train.shape[1:])
    if not fits(shape, prior.shape):
        raise SpecError(f"data: examples of shape {shape}, the prior's are {prior.shape}")

    def convert(x: Tensor) -> Tensor:
        return prior.coordinates.from_raw(x.flatten(1)).reshape(x.shape)

    return Data(convert(data.train), convert(data.held_out))


@contextmanager
def at(place: str) -> Iterator[None]:
    """Errors in the block are about a place in the spec, and name it."""
    try:
        yield
    except (MempostError, ValueError, TypeError, RuntimeError) as error:
        raise SpecError(f"{place}: {' '.join(str(error).split())}") from error


def _resolved(operator: ForwardOperator, prior: FittedPrior, place: str) -> ForwardOperator:
    """An operator that takes the prior's x."""
    with at(place):
        resolved = operator.resolve(prior)
        resolved.check_domain(prior.shape)
        resolved.range_shape(prior.shape)
    return resolved


def _simulator(
    question: Question, prior: FittedPrior, operator: ForwardOperator
) -> ForwardOperator:
    """What the data come from: the operator itself, or another one."""
    if question.simulator is None:
        return operator
    simulator = _resolved(question.simulator, prior, "observation.operator")
    found, expected = simulator.range_shape(prior.shape), operator.range_shape(prior.shape)
    if found != expected:
        raise SpecError(
            f"observation.operator: gives data of shape {found}, the operator gives {expected}"
        )
    return simulator


def _given(
    observation: Observation, shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> Tensor:
    """Data that stand in the spec."""
    values = observation.values
    assert values is not None
    if np.iscomplexobj(values.numpy()) and not dtype.is_complex:
        raise SpecError("observation.values: are complex, and the operator gives real data")
    return with_shape(values.tensor(dtype, device), shape, "observation.values")


def _without_missing(y: Tensor, observation: Observation) -> Tensor:
    """The data with NaN where one is missing."""
    if observation.missing is None:
        return y
    mask = observation.missing.tensor(torch.float64, y.device)
    missing = with_shape(mask, tuple(y.shape), "observation.missing") == 1
    return torch.where(missing, torch.nan, y)


def _noise(recipe: NoiseRecipe, f: Tensor) -> NoiseLaw:
    """The law of data f, NaN where they are missing."""
    try:
        law = recipe.resolve(f)
    except SpecError as error:
        raise SpecError(f"noise.{error}") from None
    missing = f.isnan().flatten()
    if missing.all():
        raise SpecError("observation: every datum is missing")
    return law.without(missing) if missing.any() else law


def _require_resolved(law: NoiseLaw, y: Tensor) -> None:
    """Refuse Gaussian noise that is smaller than the rounding of the data that it is on."""
    noise = ask(law, IsGaussian)
    if noise is None:
        return
    eps = torch.finfo(y.dtype).eps
    lost = float(noise.whiten(eps * y.flatten()).abs().max())
    if lost > 1:
        precision = "float64" if y.dtype in (torch.float64, torch.complex128) else "float32"
        remedy = "" if precision == "float64" else "; take dtype: float64"
        largest = float(y[~y.isnan()].abs().max())
        raise SpecError(
            f"noise: data of up to {largest:.2g} are rounded to {eps * largest:.1g} in "
            f"{precision}, {lost:.2g} standard deviations of the noise{remedy}"
        )


def _dtype(setting: Setting, operator: ForwardOperator) -> torch.dtype:
    """Of the operator's data, in the setting's precision."""
    if not operator.is_complex:
        return setting.real_dtype
    return torch.complex64 if setting.real_dtype == torch.float32 else torch.complex128
