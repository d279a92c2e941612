"""Errors that say where, what was found, what is allowed and the nearest name."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mempost.core.cautions import note

if TYPE_CHECKING:
    from torch import Tensor


class MempostError(Exception):
    """Base of every error that mempost raises on purpose."""


class SpecError(MempostError, ValueError):
    """A spec, an option or a hyper-parameter is not acceptable (exit code 2)."""


class PluginError(MempostError):
    """A plugin is missing, broken, or asked for what it does not offer."""


class ShapeError(MempostError, ValueError):
    """Arrays or operators whose shapes do not fit together."""


class CorruptFileError(MempostError):
    """A stored file does not hold what was written; it is named and not used."""


class MempostWarning(UserWarning):
    """Numbers are less accurate, or mean something else, than one would think.

    It is kept with the run that it concerns, and shown in its report (see `cautions`).
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        note([text])


class DivergenceError(MempostError):
    """Draws lie far out of what the prior gives: an iteration diverges, though it is finite."""


class NonFiniteError(MempostError, FloatingPointError):
    """A NaN or infinity appeared.

    Attributes:
        quantity: what was not finite, e.g. ``"x_t"``.
        step: index of the step at which it appeared, if there are steps.
        sample: index of the first sample concerned, if there are samples.
        remedy: what to do about it, where that is known.
        state: the last finite state of an iteration, to look into or to resume from; it stays
            behind when the error is pickled.
    """

    def __init__(
        self,
        quantity: str,
        step: int | None = None,
        sample: int | None = None,
        state: Mapping[str, Tensor] | None = None,
        remedy: str = "",
    ) -> None:
        self.quantity, self.step, self.sample = quantity, step, sample
        self.state, self.remedy = state, remedy
        places = [
            f"{label} {value}"
            for label, value in (("step", step), ("sample", sample))
            if value is not None
        ]
        at = f" at {', '.join(places)}" if places else ""
        super().__init__(f"{quantity} is not finite{at}" + (f"; {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Survive the way back from a worker process."""
        return type(self), (self.quantity, self.step, self.sample, None, self.remedy)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest allowed name, or nothing."""
    match = difflib.get_close_matches(str(name), list(allowed), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 4, 60, 60


def shown(value: Any) -> str:
    """A value as at most 60 characters, whatever it is: huge, nested, or without a ``repr``."""
    try:
        text = " ".join(_REPR.repr(value).split())
    except Exception:  # an integer of more digits than Python prints, or a plugin's own repr
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
