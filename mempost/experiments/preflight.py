"""Before any work: the pieces of a point are built as they will be, but for what costs.

Trained priors are not trained; a prior of the same shape and coordinates stands in for them. Data
are not simulated; noise stands in for them. Everything else is the code that runs, with its errors.
"""

from __future__ import annotations

import warnings
from typing import ClassVar, Self

import torch
from torch import Tensor

from mempost.core.dataset import Data
from mempost.core.errors import MempostWarning, PluginError
from mempost.core.operator import ForwardOperator
from mempost.core.prior import FittedPrior, Prior, State
from mempost.core.progress import Progress
from mempost.core.sizes import require_memory
from mempost.core.streams import TILE, Stream, Streams
from mempost.experiments.build import at, build, rebuild
from mempost.experiments.examples import warn_of_examples
from mempost.experiments.fitting import fit_prior
from mempost.experiments.loading import data_of
from mempost.experiments.spec import Spec


class Untrained(FittedPrior):
    """What is known of a prior before it is trained: shape and coordinates; its draws are zero."""

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        raise PluginError("the prior is not trained yet")

    def _draw(self, stream: Stream) -> Tensor:
        return self.coordinates.location.new_zeros(TILE, self.dimension)

    def _state(self) -> State:
        return State({}, {})

    @classmethod
    def _from_state(cls, state: State) -> Self:
        raise PluginError("the prior is not trained yet")


class StandIn(Prior):
    """Stands in for a prior that is trained."""

    fitted_class: ClassVar[type[FittedPrior]] = Untrained

    def _fit(
        self, x: Tensor | None, shape: tuple[int, ...], streams: Streams, progress: Progress
    ) -> FittedPrior:
        assert x is not None
        return Untrained(shape, x)


def preflight(spec: Spec, where: str) -> None:
    """Check that the pieces of a point fit together.

    Raises:
        SpecError: naming the piece.
    """
    with at(where):
        with at("device"):
            _check_device(spec.device)
        with at("data"):
            data = data_of(spec)
        if data is not None:
            warn_of_examples(data)
        if any(p.standardise for p in (spec.prior, *spec.priors.values())):
            _warn_of_coordinates(spec, where)
        with at("prior"):
            prior = _rehearsed(spec, data)
        common = build(spec, data, prior, rehearsed=True)
        for key, sampler in spec.samplers.items():
            setup = common
            if key in spec.priors:
                own = spec.under_prior_of(key)
                with at(f"priors.{key}"):
                    prior = _rehearsed(own, data)
                setup = rebuild(common, own, data, prior)
            drawn = spec.n_samples(key) * prior.dimension
            with at(f"samples of {key}"):
                require_memory(drawn * prior.dtype.itemsize, f"{drawn} numbers")
            if not isinstance(setup.problem.prior, Untrained):
                with at(f"samplers.{key}"):
                    sampler.check(setup.problem)


def _rehearsed(spec: Spec, data: Data | None) -> FittedPrior:
    """The fitted prior, or what stands in for one that is trained on data."""
    if "closed_form" in spec.prior.tags or data is None or not spec.prior.needs_data:
        return fit_prior(spec, data)
    return StandIn(standardise=spec.prior.standardise).fit(data.train)


def _warn_of_coordinates(spec: Spec, where: str) -> None:
    """Say where an operator may be meant for raw states and sees standardised ones."""
    if spec.operator is not None and not any(map(_takes_from_prior, spec.operator)):
        warnings.warn(
            f"{where}: a prior has standardise: true, and operator acts on standardised states; if "
            "it is meant for raw ones, end its list with {type: standardise, from: prior}",
            MempostWarning,
            stacklevel=3,
        )


def _takes_from_prior(operator: ForwardOperator) -> bool:
    return type(operator).resolve is not ForwardOperator.resolve


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        why = str(error).partition("\n")[0].partition(". ")[0][:100]  # some go on for pages
        raise RuntimeError(f"{device!r} cannot be used here: {why}") from None
