"""What a model has to satisfy before it is discretised, and how large an error to expect."""

from __future__ import annotations

import warnings
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.core.cautions import note
from mempost.core.errors import MempostError, MempostWarning, NonFiniteError
from mempost.methods.waves.discretisation import Discretisation

POINTS_PER_WAVELENGTH = 4.0
"""Fewer are refused."""

COARSE = 0.1
"""A larger expected relative error of the data gives a warning."""

FASTEST = 15.0
"""Velocities above, in km/s, are asked about."""


class UnphysicalModelError(MempostError, ValueError):
    """A model that the wave equation, or the grid, cannot take."""


class CoarseGridWarning(MempostWarning):
    """The grid is coarse for the frequency."""


class LayerWarning(MempostWarning):
    """The absorbing layers send back waves of the models' velocity."""


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
        CoarseGridWarning: the expected error is above 10 per cent.
        LayerWarning: waves of a typical velocity come back from the layers. Both are shown once for
            each discretisation.
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
    slowness = float(m.mean()) ** 0.5
    error = discretisation.expected_error(slowness, distance)
    if error > COARSE:
        _warn_once(CoarseGridWarning, discretisation, _coarse(discretisation, error))
    fault = discretisation.layers.fault(1 / slowness, discretisation.frequency)
    if fault:
        _warn_once(LayerWarning, discretisation, _leaky(discretisation, fault, 1 / slowness))


def _coarse(discretisation: Discretisation, error: float) -> str:
    return (
        f"a spacing of {discretisation.grid.spacing:g} km is coarse at "
        f"{discretisation.frequency:g} Hz: expect a relative error of the data of about "
        f"{error:.0%} ({discretisation.name})"
    )


def _leaky(discretisation: Discretisation, fault: str, velocity: float) -> str:
    layers = discretisation.layers
    return (
        f"absorbing layers of {layers.cells * layers.spacing:g} km with {layers.sigma_max:.4g} 1/s "
        f"{fault} for the models' {velocity:.3g} km/s at {discretisation.frequency:g} Hz, so that "
        f"waves come back: leave out pml_width and pml_max, and set pml_velocity to {velocity:.2g}"
        + (" (is squared slowness in s^2/km^2?)" if velocity > FASTEST else "")
    )


@lru_cache(maxsize=256)
def _given(category: str, discretisation: Discretisation) -> list[str]:
    return []


def _warn_once(category: type[Warning], discretisation: Discretisation, message: str) -> None:
    """Show the first message of a discretisation; it is noted for whatever is computed there."""
    given = _given(category.__name__, discretisation)
    if not given:
        given.append(message)
        warnings.warn(message, category, stacklevel=2)
    note(given)
