"""What a model has to satisfy before it is discretised, and how large an error to expect."""

from __future__ import annotations

import warnings
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.errors import MempostError, NonFiniteError
from mempost.plugins.operators.helmholtz.discretisation import Discretisation

POINTS_PER_WAVELENGTH = 4.0
"""Fewer are refused."""

COARSE = 0.1
"""A larger expected relative error of the data gives a warning."""


class UnphysicalModelError(MempostError, ValueError):
    """A model that the wave equation, or the grid, cannot take."""


class CoarseGridWarning(UserWarning):
    """The grid is coarse for the frequency."""


def check_models(
    m: Float[Tensor, "batch n_x n_z"], discretisation: Discretisation, distance: float
) -> None:
    """Refuse or warn about squared slowness m (s^2/km^2).

    Args:
        m: models.
        discretisation: grid, stencil and frequency.
        distance: typical distance between sources and receivers, km.

    Raises:
        NonFiniteError: m holds NaN or infinity.
        UnphysicalModelError: m is not positive, or the grid has fewer than four points in the
            shortest wavelength.

    Warns:
        CoarseGridWarning: the expected error is above 10 per cent (once for each discretisation).
    """
    flat = m.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    finite = torch.isfinite(low) & torch.isfinite(high)
    if not finite.all():
        raise NonFiniteError("squared slowness", sample=int((~finite).nonzero()[0]))
    worst = int(low.argmin())
    if low[worst] <= 0:
        i, j = divmod(int(flat[worst].argmin()), m.shape[-1])
        raise UnphysicalModelError(
            f"squared slowness is {float(low[worst]):.4g} s^2/km^2 in model {worst} at node "
            f"({i}, {j}); allowed are numbers above 0"
        )
    shortest = discretisation.points_per_wavelength(float(high.max()) ** 0.5)
    if shortest < POINTS_PER_WAVELENGTH:
        spacing = discretisation.grid.spacing * shortest / POINTS_PER_WAVELENGTH
        raise UnphysicalModelError(
            f"{shortest:.2f} points per wavelength in model {int(high.argmax())} at "
            f"{discretisation.frequency:g} Hz; at least {POINTS_PER_WAVELENGTH:g} are needed, "
            f"so a spacing of at most {spacing:.3g} km"
        )
    error = discretisation.expected_error(float(m.mean()) ** 0.5, distance)
    if error > COARSE:
        _warn(discretisation, round(error, 2))


@lru_cache(maxsize=256)
def _warned(discretisation: Discretisation) -> list[float]:
    return []


def _warn(discretisation: Discretisation, error: float) -> None:
    seen = _warned(discretisation)
    if not seen:
        seen.append(error)
        grid = discretisation.grid
        warnings.warn(
            f"a spacing of {grid.spacing:g} km is coarse at {discretisation.frequency:g} Hz: "
            f"expect a relative error of the data of about {error:.0%} ({discretisation.name})",
            CoarseGridWarning,
            stacklevel=2,
        )
