"""From one point of a study to its inverse problem: operator, truth, noise, observation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from mempost.core.dataset import Data
from mempost.core.errors import MempostError, SpecError
from mempost.core.noise import GaussianNoise
from mempost.core.operator import ForwardOperator, compose
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.shapes import fits
from mempost.core.streams import Streams
from mempost.experiments.fitting import fit_prior, load_data, load_examples
from mempost.experiments.setting import (
    HeldOut,
    NoiseSpec,
    OtherData,
    PriorDraw,
    Setting,
    TrainAverage,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mempost.experiments.spec import Spec

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Setup:
    """A problem with the data and the truth it came from, all in the prior's coordinates."""

    problem: InverseProblem
    data: Data | None
    truth: Tensor | None
    simulator: ForwardOperator

    def simulate(self, x: Tensor) -> Tensor:
        """Data of one x (d,) without noise, as the observation simulates them."""
        return self.simulator(x.reshape(1, *self.problem.prior.shape))[0]


def build(spec: Setting, data: Data | None, prior: FittedPrior) -> Setup:
    """Compose the problem and observe its data.

    Raises:
        SpecError: truth, values, shapes or noise do not fit together.
    """
    operator = spec.forward_operator.resolve(prior)
    simulator = _simulator(spec, prior, operator)
    y, truth, std = _observe(spec, data, prior, operator, simulator)
    problem = InverseProblem(prior, operator, _noise(spec.noise, std, y), y)
    return Setup(problem, in_coordinates(data, prior), truth, simulator)


def rebuild(common: Setup, spec: Setting, data: Data | None, prior: FittedPrior) -> Setup:
    """The same data and truth under another prior, in that prior's coordinates."""
    operator = spec.forward_operator.resolve(prior)
    truth = common.truth
    if truth is not None:
        raw = common.problem.prior.coordinates.to_raw(truth)
        truth = prior.coordinates.from_raw(raw)
    problem = InverseProblem(prior, operator, common.problem.noise, common.problem.y)
    simulator = _simulator(spec, prior, operator)
    return Setup(problem, in_coordinates(data, prior), truth, simulator)


def in_coordinates(data: Data | None, prior: FittedPrior) -> Data | None:
    """Examples in the coordinates of a prior."""
    if data is None:
        return None
    if not fits(tuple(data.train.shape[1:]), prior.shape):
        raise SpecError(
            f"data: examples of shape {tuple(data.train.shape[1:])}, the prior's are {prior.shape}"
        )

    def convert(x: Tensor) -> Tensor:
        return prior.coordinates.from_raw(x.flatten(1)).reshape(x.shape)

    return Data(convert(data.train), convert(data.held_out))


def _simulator(spec: Setting, prior: FittedPrior, operator: ForwardOperator) -> ForwardOperator:
    """What the data come from: the operator itself, or another one."""
    if spec.observation.operator is None:
        return operator
    parts = list(spec.observation.operator)
    simulator = (parts[0] if len(parts) == 1 else compose(parts)).resolve(prior)
    found, expected = simulator.range_shape(prior.shape), operator.range_shape(prior.shape)
    if found != expected:
        raise SpecError(
            f"observation.operator: gives data of shape {found}, the operator gives {expected}"
        )
    return simulator


def _observe(
    spec: Setting,
    data: Data | None,
    prior: FittedPrior,
    operator: ForwardOperator,
    simulator: ForwardOperator,
) -> tuple[Tensor, Tensor | None, float]:
    """Data y, the truth in the prior's coordinates if there is one, and the noise std."""
    observation = spec.observation
    shape = operator.range_shape(prior.shape)
    if observation.values is not None:
        dtype = _complex(spec.real_dtype) if operator.is_complex else spec.real_dtype
        if np.iscomplexobj(observation.values.numpy()) and not operator.is_complex:
            raise SpecError("observation.values: are complex, and the operator gives real data")
        y = observation.values.tensor(dtype, spec.device)
        y = _with_shape(y, shape, "observation.values")
        return y, None, _std(spec.noise, y)
    truth = prior.coordinates.from_raw(_truth(spec, data, prior))
    y = simulator(truth.reshape(1, *prior.shape))[0]
    std = _std(spec.noise, y)
    if observation.noisy:
        seed = spec.seed if observation.seed is None else observation.seed
        y = _noise(spec.noise, std, y).perturb(y, Streams(seed, "noise").at())
    return y, truth, std


def _truth(spec: Setting, data: Data | None, prior: FittedPrior) -> Tensor:
    """The truth in raw coordinates, (d,)."""
    observation = spec.observation
    truth = observation.truth
    seed = spec.seed if observation.seed is None else observation.seed
    if isinstance(truth, Values):
        x = truth.values.tensor(spec.real_dtype, spec.device)
        x = _with_shape(x, prior.shape, "observation.truth.values").flatten()
    elif isinstance(truth, PriorDraw):
        draws = prior.sample(truth.index + 1, Streams(seed, "truth"))
        x = prior.coordinates.to_raw(draws[truth.index])
    elif isinstance(truth, OtherData):
        examples = load_examples(truth.dataset, spec).train
        x = _pick(examples, (truth.index,), prior.shape, "index", "dataset")
    elif isinstance(truth, HeldOut | TrainAverage):
        if data is None:
            raise SpecError("observation.truth: the spec has no data to take the truth from")
        if isinstance(truth, HeldOut):
            x = _pick(data.held_out, (truth.index,), prior.shape, "index", "held-out")
        else:
            x = _pick(data.train, truth.indices, prior.shape, "indices", "training")
    else:
        raise SpecError("observation: give either values or truth")
    return x


def _with_shape(x: Tensor, shape: tuple[int, ...], place: str) -> Tensor:
    """``x`` in the shape that is expected, if it differs by axes of length one or is a list."""
    found = tuple(x.shape)
    if not fits(found, shape):
        more = "; an array from a file takes transpose" if x.numel() == _size(shape) else ""
        raise SpecError(f"{place}: shape {found}, expected {shape}{more}")
    return x.reshape(shape)


def _pick(
    examples: Tensor, indices: tuple[int, ...], shape: tuple[int, ...], field: str, name: str
) -> Tensor:
    """The average of some examples, flattened."""
    for index in indices:
        if index >= len(examples):
            raise SpecError(
                f"observation.truth.{field}: {index} is beyond the {len(examples)} {name} examples"
            )
    mean = examples[list(indices)].mean(0)
    return _with_shape(mean, shape, f"observation.truth: {name} examples").flatten()


def _std(noise: NoiseSpec, y: Tensor) -> float:
    if noise.std is not None:
        return noise.std
    assert noise.relative_to_max is not None
    largest = float(y.abs().max())
    if not largest > 0:
        raise SpecError("noise.relative_to_max: the data are zero, so the noise would be; give std")
    return noise.relative_to_max * largest


def _noise(noise: NoiseSpec, std: float, y: Tensor) -> GaussianNoise:
    is_complex = y.is_complex() if noise.complex is None else noise.complex
    if is_complex != y.is_complex():
        found = "complex" if y.is_complex() else "real"
        raise SpecError(f"noise.complex: {str(is_complex).lower()}, but the data are {found}")
    return GaussianNoise(std, is_complex)


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex64 if dtype == torch.float32 else torch.complex128


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def preflight(spec: Spec, where: str) -> None:
    """Check before any work that the pieces of a point fit together.

    Trained priors are not trained for it: their shape is that of the data.

    Raises:
        SpecError: naming the piece.
    """
    _at(where, "device", lambda: _check_device(spec.device))
    data = _at(where, "data", lambda: load_data(spec))
    noise, y = _check_observation(spec, data, where)
    priors = (spec.prior, *spec.priors.values())
    if any(p.standardise for p in priors) and not _follows_coordinates(spec.operator):
        warnings.warn(
            f"{where}: a prior has standardise: true, and operator acts on standardised states; if "
            "it is meant for raw ones, end its list with {type: standardise, from: prior}",
            stacklevel=2,
        )
    for key, sampler in spec.samplers.items():
        own = spec.under_prior_of(key)
        if "closed_form" in own.prior.tags:
            place = f"priors.{key}" if key in spec.priors else "prior"
            prior = _at(where, place, lambda own=own: fit_prior(own, data))  # type: ignore[misc]
            problem = _at(where, "operator", lambda p=prior: _problem(spec, p, noise, y))  # type: ignore[misc]
            _at(where, f"samplers.{key}", lambda s=sampler, p=problem: s.check(p))  # type: ignore[misc]


def _problem(
    spec: Setting, prior: FittedPrior, noise: GaussianNoise | None, y: Tensor | None
) -> InverseProblem:
    """A problem to check samplers with; without data, zeros stand in for them."""
    operator = spec.forward_operator.resolve(prior)
    if y is None:
        dtype = _complex(spec.real_dtype) if operator.is_complex else spec.real_dtype
        y = torch.zeros(operator.range_shape(prior.shape), dtype=dtype, device=spec.device)
    noise = noise or GaussianNoise(spec.noise.std or 1.0, operator.is_complex)
    return InverseProblem(prior, operator, noise, y)


def _check_observation(
    spec: Setting, data: Data | None, where: str
) -> tuple[GaussianNoise | None, Tensor | None]:
    """Noise and data where they are given as values; truth and shapes are checked otherwise."""
    if data is not None and "closed_form" not in spec.prior.tags:
        shape = tuple(data.train.shape[1:])
        _at(where, "operator", lambda: spec.forward_operator.check_domain(shape))
        _at(where, "operator", lambda: spec.forward_operator.range_shape(shape))
        return None, None
    prior = _at(where, "prior", lambda: fit_prior(spec, data))
    operator = _at(where, "operator", lambda: spec.forward_operator.resolve(prior))
    _at(where, "operator", lambda: operator.range_shape(prior.shape))
    if spec.observation.values is not None:
        y, _, std = _at(where, "", lambda: _observe(spec, data, prior, operator, operator))
        return _at(where, "", lambda: _noise(spec.noise, std, y)), y
    _at(where, "", lambda: _truth(spec, data, prior))
    _at(where, "", lambda: _simulator(spec, prior, operator))
    if spec.noise.complex not in (None, operator.is_complex):
        kind = "complex" if operator.is_complex else "real"
        raise SpecError(f"{where}: noise.complex: {spec.noise.complex}, but the data are {kind}")
    return None, None


def _follows_coordinates(operators: tuple[ForwardOperator, ...]) -> bool:
    """Whether one of the operators takes something from the fitted prior."""
    return any(type(op).resolve is not ForwardOperator.resolve for op in operators)


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except AssertionError as error:  # what torch says without CUDA
        raise SpecError(f"{device!r} cannot be used here: {error}") from None


def _at(where: str, place: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except (MempostError, ValueError, TypeError, RuntimeError) as error:
        prefix = f"{where}: {place}: " if place else f"{where}: "
        raise SpecError(prefix + " ".join(str(error).split())) from None
