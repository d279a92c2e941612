"""How wide the absorbing layers are and how strongly they damp.

The damping sigma(d) = sigma_max (d / W)^2 of a layer of width W takes a wave of velocity v, which
passes it twice, down to exp(-a) of its amplitude, and at an angle theta to exp(-a cos theta):

    a = 2 sigma_max W / (3 v).

So sigma_max follows from a and a velocity, whatever the frequency. What comes back in fact
is due to the grid: it falls as the third power of the number of cells N and grows with a, while a
small a lets waves through that graze the layer. Where not asked for otherwise,

    N = 0.4 v / (f h), but 8 to 20 cells,     a = log 10^10, but at most N^2 / 3,

f the lowest frequency and h the spacing. From six points per wavelength on, data are off by at most
.7 % for velocities from .5 to 6 km/s and v = 4 (``mempost bench layers``, ``docs/waves.md``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ATTENUATION = math.log(1e10)
"""a at the velocity that layers are made for."""
CELLS = (8, 20)
"""The fewest and the most cells that are chosen."""
PER_WAVELENGTH = 0.4
"""Widths between these two, in wavelengths at that velocity."""
LEAST_ATTENUATION = 10.0
"""Below, grazing waves return with more than two per cent of the data."""


@dataclass(frozen=True)
class Layers:
    """Absorbing layers, the same on all sides.

    Attributes:
        cells: their number, N.
        spacing: h, km.
        sigma_max: damping at the rim, 1/s.
    """

    cells: int
    spacing: float
    sigma_max: float

    @classmethod
    def choose(
        cls,
        spacing: float,
        frequency: float,
        velocity: float,
        width: float | None = None,
        sigma_max: float | None = None,
    ) -> Layers:
        """Layers for a velocity (km/s) at frequencies of ``frequency`` (Hz) or more.

        Args:
            spacing: km.
            frequency: the lowest.
            velocity: that they are made for; from a tenth of it to twice it they absorb well.
            width: km, rounded up to cells, instead of the one chosen here.
            sigma_max: 1/s, likewise.
        """
        if width is None:
            low, high = CELLS
            cells = min(
                max(low, math.ceil(PER_WAVELENGTH * velocity / (frequency * spacing))), high
            )
        else:
            cells = max(1, math.ceil(width / spacing - 1e-9))
        if sigma_max is None:
            attenuation = min(ATTENUATION, cells**2 / 3)
            sigma_max = 3 * attenuation * velocity / (2 * cells * spacing)
        return cls(cells, spacing, sigma_max)

    def fault(self, velocity: float, frequency: float) -> str:
        """What keeps these layers from absorbing, or an empty string.

        The bounds hold errors of data below about two per cent, with sources and receivers two
        nodes from the layers.
        """
        attenuation = 2 * self.sigma_max * self.cells * self.spacing / (3 * velocity)
        points = velocity / (frequency * self.spacing)
        if attenuation < LEAST_ATTENUATION:
            return "damp too little"
        if attenuation > self.cells**2:
            return f"damp too much for {self.cells} cells"
        if self.cells < min(points / 8, 10):
            return f"are too thin with {self.cells} cells"
        return ""
