"""Priors over priors: fields of a recipe that hold priors, fitted first and asked by the result.

A smoothed or tempered prior asks another one at states of its own choice. The recipe holds it as a
plugin field, say ``base``; `CompositePrior` fits it on the same data with the same streams as if it
stood alone, unless it was trained before (`Prior.fit_once`). A `FittedComposite` is stored and
moved with its parts: the tensors of ``base`` are named ``base/NAME``, its values stand under
``base``. Where it is rebuilt, the part itself stands there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.prior import FittedPrior, Prior, State
from mempost.core.progress import Progress
from mempost.core.streams import Streams
from mempost.core.tags import Tag

Parts = Mapping[str, FittedPrior]


class FittedComposite(FittedPrior):
    """A fitted prior that asks others.

    Authors override ``_denoise`` and ``_draw``, ``_state`` for what is not in the parts, and
    ``_from_state``, which finds the parts among the values. Parts count their denoiser calls.

    Attributes:
        parts: the priors that it asks, by the names of the recipe's fields.
    """

    def __init__(self, parts: Parts) -> None:
        """Shape, precision and device are those of the parts.

        Raises:
            PluginError: the parts have different shapes.
        """
        first = next(iter(parts.values()))
        for name, part in parts.items():
            if part.shape != first.shape:
                raise PluginError(
                    f"{type(self).__name__}: {name} has shape {part.shape} and another part "
                    f"{first.shape}; allowed are parts of one shape"
                )
        super().__init__(first.shape, first.coordinates.location)
        self.parts = dict(parts)

    def state(self) -> State:
        tensors, values = super().state()
        for name, part in self.parts.items():
            inner = part.state()
            tensors |= {f"{name}/{key}": tensor for key, tensor in inner.tensors.items()}
            values[name] = inner.values
        return State(tensors, values)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        tensors, values = super().state()
        moved = {name: part.to(device, dtype) for name, part in self.parts.items()}
        own = State(tensors, values).to(device, dtype)
        return type(self).from_state(State(own.tensors, {**own.values, **moved}))

    def _state(self) -> State:
        return State({}, {})

    def _called(self, z: Tensor) -> None:
        self._check(z)


class CompositePrior(Prior):
    """A prior over the priors that are its fields; authors override ``_compose``."""

    @property
    def bases(self) -> dict[str, Prior]:
        """The priors among the fields, by name."""
        fields = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in fields if isinstance(value, Prior)}

    @property
    def needs_data(self) -> bool:
        return any(base.needs_data for base in self.bases.values())

    @model_validator(mode="after")
    def _one_set_of_coordinates(self) -> Self:
        for name, base in self.bases.items():
            if base.standardise:
                raise ValueError(
                    f"{name} has standardise: true; coordinates are those of the whole prior, so "
                    f"say it there and not in {name}"
                )
        return self

    def _tags(self) -> frozenset[Tag]:
        tags, inner = super()._tags(), [base.tags for base in self.bases.values()]
        closed = frozenset[Tag]() if all("closed_form" in t for t in inner) else {"closed_form"}
        return tags - closed | ({"random"} if any("random" in t for t in inner) else set())

    def restore(self, state: State) -> FittedPrior:
        parts = {
            name: base.restore(
                State(_inside(state.tensors, name), state.values[name]),
            )
            for name, base in self.bases.items()
        }
        own = {key: t for key, t in state.tensors.items() if key.partition("/")[0] not in parts}
        return self.fitted_class.from_state(State(own, {**state.values, **parts}))

    def _fit(
        self, x: Tensor | None, shape: tuple[int, ...], streams: Streams, progress: Progress
    ) -> FittedPrior:
        given = None if x is None else x.reshape(-1, *shape)
        parts = {
            name: base.fit_once(
                given if base.needs_data else None, streams=streams, progress=progress
            )
            for name, base in self.bases.items()
        }
        return self._compose(parts, x, streams)

    @abstractmethod
    def _compose(self, parts: Parts, x: Tensor | None, streams: Streams) -> FittedPrior:
        """The fitted prior over fitted parts; x (N, d) as in ``_fit``.

        Bases draw from ``streams``: draw from ``streams.branch(1)``.
        """


def _inside(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of a part, by the names that it gave them."""
    prefix = f"{name}/"
    return {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
