"""Priors: what is believed of x before the data, at every noise level z = a x + s e.

A `Prior` holds hyper-parameters; `Prior.fit` returns a `FittedPrior` that holds tensors and
answers, for z of shape (batch, d),

    denoise      D(z) = E[x | z]
    at           D(z) with its derivatives, from one call (see `mempost.core.denoised`)
    score        grad log p(z) = (a D(z) - z) / s^2                       (Tweedie)

and draws x. Calls of the denoiser are counted here, one a row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Self

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core import keeping
from mempost.core.capabilities import HasDensity, HasNoisedDensity, Withheld
from mempost.core.coordinates import Coordinates
from mempost.core.counters import tally
from mempost.core.denoised import Denoised
from mempost.core.errors import PluginError, ShapeError
from mempost.core.level import CLEAN, NoiseLevel
from mempost.core.plugin import Plugin
from mempost.core.progress import Progress, silent
from mempost.core.streams import Stream, Streams, draw_tiled


class State(NamedTuple):
    """What a fitted prior is made of: named tensors, and plain JSON values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The tensors on another device, those of real numbers in another precision."""
        moved = {
            name: t.to(device=device, dtype=dtype if t.is_floating_point() else None)
            for name, t in self.tensors.items()
        }
        return State(moved, self.values)


class FittedPrior(ABC):
    """A prior that can be asked; authors override the hooks ``_denoise``, ``_draw``, ``_state``.

    Hooks receive a and s as tensors of shape (1, 1) or (batch, 1).

    Attributes:
        shape: shape of one x, e.g. (8, 8); the methods take it flattened to d numbers.
        coordinates: map from the prior's coordinates to the raw ones of the training data.
    """

    shape: tuple[int, ...]
    coordinates: Coordinates

    def __init__(self, shape: tuple[int, ...], like: Tensor) -> None:
        """``like`` sets dtype and device."""
        self.shape = tuple(shape)
        self.coordinates = Coordinates.identity(self.dimension, like)

    @property
    def dimension(self) -> int:
        """d, the number of coordinates of x."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.coordinates.location.dtype

    @property
    def device(self) -> torch.device:
        return self.coordinates.location.device

    # -- asked by samplers ------------------------------------------------------------------

    def denoise(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> Float[Tensor, "batch d"]:
        """E[x | z], differentiable in z. Counted as one denoiser call a row."""
        self._called(z)
        return self._denoise(z, *level.columns(z))

    def at(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> Denoised:
        """E[x | z] with its derivatives at s > 0, all from one denoiser call a row."""
        return Denoised(self, z, level)

    def score(self, z: Float[Tensor, "batch d"], level: NoiseLevel) -> Float[Tensor, "batch d"]:
        """grad log p(z) at the given noise level (s > 0)."""
        a, s = level.columns(z)
        return (a * self.denoise(z, level) - z) / s**2

    @property
    def draw_calls(self) -> int:
        """Denoiser calls that one draw of x takes; none in a closed form."""
        return 0

    def sample(self, n: int, streams: Streams) -> Float[Tensor, "n d"]:
        """``n`` draws of x; the first ones do not depend on ``n``."""
        return draw_tiled(n, streams, self._draw)

    def draw_tile(self, stream: Stream) -> Float[Tensor, "tile d"]:
        """`TILE` draws of x from one stream."""
        return self._draw(stream)

    def log_density(
        self, z: Float[Tensor, "batch d"], level: NoiseLevel = CLEAN
    ) -> Float[Tensor, " batch"]:
        """log p(z), normalised, at the given noise level, where ``_log_density`` is overridden."""
        self._check(z)
        return self._log_density(z, *level.columns(z))

    @property
    def withheld(self) -> Withheld:
        """What this prior cannot give (see `mempost.core.capabilities`), with the reason."""
        if type(self)._log_density is not FittedPrior._log_density:
            return {}
        return dict.fromkeys((HasDensity, HasNoisedDensity), "only its denoiser is known")

    # -- stored, moved ----------------------------------------------------------------------

    def state(self) -> State:
        """Tensors and JSON values that `from_state` rebuilds the prior from."""
        tensors, values = self._state()
        location, scale = self.coordinates.location, self.coordinates.scale
        both = {"coordinates.location": location, "coordinates.scale": scale}
        return State({**tensors, **both}, {**values, "shape": list(self.shape)})

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The inverse of `state`."""
        tensors, values = dict(state.tensors), dict(state.values)
        location, scale = tensors.pop("coordinates.location"), tensors.pop("coordinates.scale")
        fitted = cls._from_state(State(tensors, {**values, "shape": tuple(values["shape"])}))
        fitted.coordinates = Coordinates(location, scale)
        return fitted

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """A copy on another device or in another precision."""
        return type(self).from_state(self.state().to(device, dtype))

    # -- hooks for authors --------------------------------------------------------------------

    @abstractmethod
    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        """E[x | z] for z (batch, d)."""

    @abstractmethod
    def _draw(self, stream: Stream) -> Tensor:
        """A tile of `TILE` draws of x, (TILE, d)."""

    @abstractmethod
    def _state(self) -> State:
        """Tensors and JSON values, without shape and coordinates."""

    @classmethod
    @abstractmethod
    def _from_state(cls, state: State) -> Self:
        """Rebuild from `_state`, with ``values["shape"]`` added."""

    def _log_density(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        raise PluginError(f"{type(self).__name__} offers no log density")

    def _called(self, z: Tensor) -> None:
        """Count one denoiser call a row of z; closed forms that answer by themselves say it."""
        self._check(z)
        tally("denoiser_calls", len(z))

    def _check(self, z: Tensor) -> None:
        if z.ndim != 2 or z.shape[1] != self.dimension:
            raise ShapeError(
                f"{type(self).__name__} takes states of shape (batch, {self.dimension}), "
                f"found {tuple(z.shape)}"
            )


class Prior(Plugin, ABC):
    """Hyper-parameters of a prior; authors override ``_fit`` and name their ``fitted_class``."""

    fitted_class: ClassVar[type[FittedPrior]]
    standardise: bool = Field(
        False, description="fit to (x - mean)/(std + 1e-5) of the training set"
    )

    @property
    def needs_data(self) -> bool:
        """Whether there is anything to learn, given the hyper-parameters."""
        return True

    def fit(
        self,
        x: Float[Tensor, "n *shape"] | None = None,
        *,
        streams: Streams | None = None,
        progress: Progress = silent,
    ) -> FittedPrior:
        """Learn from training data x (N, *shape); closed-form priors may need none.

        Raises:
            PluginError: data are missing, or given to a prior that is fully specified.
            ShapeError: x is not (N, ...) with N >= 1 and at least one coordinate.
        """
        name = type(self).__name__
        if x is None:
            if self.needs_data or self.standardise:
                raise PluginError(f"{name} is fitted to training data, and none were given")
            return self._fit(None, (), streams or Streams(0, "training"), progress)
        if x.ndim < 2 or 0 in x.shape:
            raise ShapeError(f"{name}.fit takes x of shape (N, d, ...), found {tuple(x.shape)}")
        if not torch.isfinite(x).all():
            raise ValueError(f"{name}.fit: the training data hold non-finite numbers")
        shape, x = tuple(x.shape[1:]), x.flatten(1)
        coordinates = (
            Coordinates.standardising(x)
            if self.standardise
            else Coordinates.identity(x.shape[1], x)
        )
        fitted = self._fit(
            coordinates.from_raw(x), shape, streams or Streams(0, "training"), progress
        )
        fitted.coordinates = coordinates
        return fitted

    def fit_once(
        self,
        x: Float[Tensor, "n *shape"] | None = None,
        *,
        streams: Streams | None = None,
        progress: Progress = silent,
    ) -> FittedPrior:
        """`fit`, or what it gave before for the same data, streams and code.

        A prior that is not in closed form is kept (see `mempost.core.keeping`), by its content.
        """
        streams = streams or Streams(0, "training")
        if "closed_form" in self.tags:
            return self.fit(x, streams=streams, progress=progress)
        data = () if x is None else (x,)
        name = "prior-" + keeping.content_hash(self, *data, streams.seed, streams.role)
        kept = keeping.load(name)
        if kept is not None:
            return self.restore(kept if x is None else kept.to(x.device))
        fitted = self.fit(x, streams=streams, progress=progress)
        keeping.save(name, fitted.state())
        return fitted

    def restore(self, state: State) -> FittedPrior:
        """The fitted prior from what `FittedPrior.state` gave."""
        return self.fitted_class.from_state(state)

    @abstractmethod
    def _fit(
        self, x: Tensor | None, shape: tuple[int, ...], streams: Streams, progress: Progress
    ) -> FittedPrior:
        """Learn from flattened data x (N, d), whose rows have the given shape."""
