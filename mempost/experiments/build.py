"""From one point of a study to its inverse problem: data, fitted prior, operator, observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from mempost.core.dataset import Data, Dataset
from mempost.core.errors import MempostError, SpecError
from mempost.core.noise import GaussianNoise
from mempost.core.operator import ForwardOperator, compose
from mempost.core.prior import FittedPrior
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.streams import Streams
from mempost.experiments.spec import (
    HeldOut,
    NoiseSpec,
    Observation,
    OtherData,
    PriorDraw,
    Spec,
    TrainAverage,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Setup:
    """A problem with the data and the truth it came from, all in the prior's coordinates."""

    problem: InverseProblem
    data: Data | None
    truth: Tensor | None


def load_data(spec: Spec) -> Data | None:
    """The examples in raw coordinates and in the spec's precision."""
    return None if spec.data is None else _load(spec.data, spec)


def _load(dataset: Dataset, spec: Spec) -> Data:
    data = dataset.load(Streams(spec.seed, "data"))
    for name, x in (("training", data.train), ("held-out", data.held_out)):
        if not torch.isfinite(x).all():
            raise SpecError(f"data: the {name} examples hold non-finite numbers")
    device, dtype = spec.device, spec.real_dtype
    return Data(data.train.to(device, dtype), data.held_out.to(device, dtype))


def fit_prior(spec: Spec, data: Data | None, progress: Progress = silent) -> FittedPrior:
    """Fit the prior, on the spec's device and in its precision."""
    streams = Streams(spec.seed, "training")
    x = data.train if data is not None and spec.prior.needs_data else None
    fitted = spec.prior.fit(x, streams=streams, progress=progress)
    return fitted.to(device=spec.device, dtype=spec.real_dtype)


def build(spec: Spec, data: Data | None, prior: FittedPrior) -> Setup:
    """Compose the problem and observe its data.

    Raises:
        SpecError: truth, values, shapes or noise do not fit together.
    """
    operator = spec.forward_operator.resolve(prior)
    y, truth, std = _observe(spec, data, prior, operator)
    problem = InverseProblem(prior, operator, _noise(spec.noise, std, y), y)
    return Setup(problem, _in_coordinates(data, prior), truth)


def _in_coordinates(data: Data | None, prior: FittedPrior) -> Data | None:
    if data is None:
        return None

    def convert(x: Tensor) -> Tensor:
        return prior.coordinates.from_raw(x.flatten(1)).reshape(x.shape)

    return Data(convert(data.train), convert(data.held_out))


def _observe(
    spec: Spec, data: Data | None, prior: FittedPrior, operator: ForwardOperator
) -> tuple[Tensor, Tensor | None, float]:
    """Data y, the truth in the prior's coordinates if there is one, and the noise std."""
    observation = spec.observation
    shape = operator.range_shape(prior.shape)
    if observation.values is not None:
        dtype = _complex(spec.real_dtype) if operator.is_complex else spec.real_dtype
        y = observation.values.tensor(dtype, spec.device)
        if y.numel() != _size(shape):
            raise SpecError(
                f"observation.values: should hold {_size(shape)} numbers, shape {shape}, "
                f"found shape {tuple(y.shape)}"
            )
        y = y.reshape(shape)
        return y, None, _std(spec.noise, y)
    truth = prior.coordinates.from_raw(_truth(spec, data, prior))
    simulator = operator
    if observation.operator is not None:
        parts = list(observation.operator)
        simulator = (parts[0] if len(parts) == 1 else compose(parts)).resolve(prior)
        if simulator.range_shape(prior.shape) != shape:
            raise SpecError(
                f"observation.operator: gives data of shape {simulator.range_shape(prior.shape)}, "
                f"the operator gives {shape}"
            )
    y = simulator(truth.reshape(1, *prior.shape))[0]
    std = _std(spec.noise, y)
    if observation.noisy:
        seed = spec.seed if observation.seed is None else observation.seed
        y = _noise(spec.noise, std, y).perturb(y, Streams(seed, "noise").at())
    return y, truth, std


def _truth(spec: Spec, data: Data | None, prior: FittedPrior) -> Tensor:
    """The truth in raw coordinates, (d,)."""
    observation = spec.observation
    truth = observation.truth
    seed = spec.seed if observation.seed is None else observation.seed
    if isinstance(truth, Values):
        x = truth.values.tensor(spec.real_dtype, spec.device).flatten()
    elif isinstance(truth, PriorDraw):
        draws = prior.sample(truth.index + 1, Streams(seed, "truth"))
        x = prior.coordinates.to_raw(draws[truth.index])
    elif isinstance(truth, OtherData):
        examples = _load(truth.dataset, spec).train
        x = _pick(examples, (truth.index,), "observation.truth.index", "dataset")
    elif isinstance(truth, HeldOut | TrainAverage):
        if data is None:
            raise SpecError("observation.truth: the spec has no data to take the truth from")
        if isinstance(truth, HeldOut):
            x = _pick(data.held_out, (truth.index,), "observation.truth.index", "held-out")
        else:
            x = _pick(data.train, truth.indices, "observation.truth.indices", "training")
    else:
        raise SpecError("observation: give either values or truth")
    if x.numel() != prior.dimension:
        raise SpecError(
            f"observation.truth: should have {prior.dimension} coordinates, found {x.numel()}"
        )
    return x


def _pick(examples: Tensor, indices: tuple[int, ...], place: str, name: str) -> Tensor:
    for index in indices:
        if index >= len(examples):
            raise SpecError(f"{place}: {index} is beyond the {len(examples)} {name} examples")
    return examples[list(indices)].mean(0).flatten()


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
    data = _at(where, "data", lambda: load_data(spec))
    cheap = data is None or "closed_form" in spec.prior.tags
    if not cheap:
        assert data is not None
        shape = tuple(data.train.shape[1:])
        _at(where, "operator", lambda: spec.forward_operator.check_domain(shape))
        _at(where, "operator", lambda: spec.forward_operator.range_shape(shape))
        return
    prior = _at(where, "prior", lambda: fit_prior(spec, data))
    operator = _at(where, "operator", lambda: spec.forward_operator.resolve(prior))
    shape = _at(where, "operator", lambda: operator.range_shape(prior.shape))
    observation: Observation = spec.observation
    if observation.values is not None:
        y, _, std = _at(where, "", lambda: _observe(spec, data, prior, operator))
        noise = _at(where, "", lambda: _noise(spec.noise, std, y))
    else:
        _at(where, "", lambda: _truth(spec, data, prior))
        if spec.noise.complex not in (None, operator.is_complex):
            kind = "complex" if operator.is_complex else "real"
            raise SpecError(
                f"{where}: noise.complex: {spec.noise.complex}, but the data are {kind}"
            )
        dtype = _complex(spec.real_dtype) if operator.is_complex else spec.real_dtype
        y = torch.zeros(shape, dtype=dtype, device=spec.device)
        noise = GaussianNoise(spec.noise.std or 1.0, operator.is_complex)
    problem = _at(where, "operator", lambda: InverseProblem(prior, operator, noise, y))
    for key, sampler in spec.samplers.items():
        _at(where, f"samplers.{key}", lambda s=sampler: s.check(problem))  # type: ignore[misc]


def _at(where: str, place: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except (MempostError, ValueError, TypeError, RuntimeError) as error:
        prefix = f"{where}: {place}: " if place else f"{where}: "
        raise SpecError(prefix + " ".join(str(error).split())) from None
