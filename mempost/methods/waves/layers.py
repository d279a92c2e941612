"""How wide the absorbing layers are and how strongly they damp.

The damping sigma(d) = sigma_max (d / W)^2 of a layer of width W takes a wave of velocity v, which
passes it twice, down to exp(-a) of its amplitude, and at an angle theta to exp(-a cos theta):

    a = 2 sigma_max W / (3 v).

So sigma_max follows from a and a velocity, whatever the frequency. What comes back in fact is due
to the grid: it falls as the third power of the number of cells N and grows with a, while a small a
lets waves through that graze the layer. Where not asked for otherwise,

    N = 0.4 v / (f h), but 8 to 20 cells,     a = log 10^10, but at most N^2 / 3,

f the lowest frequency and h the spacing. From six points per wavelength on, data are off by at most
.9 % for velocities from .5 to 6 km/s and v = 4 (``mempost bench layers``, ``docs/waves.md``). A
stencil of second order sends back twenty times as much from as many cells, and takes two for one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ATTENUATION = math.log(1e10)
"""a at the velocity that layers are made for."""
CELLS = (8, 20)
"""The fewest and the most cells that are chosen."""
MOST_CELLS = 10_000
"""The most that may be asked for."""
PER_WAVELENGTH = 0.4
"""Widths between these two, in wavelengths at that velocity."""
LEAST_ATTENUATION = 10.0
"""Below, grazing waves return with more than two per cent of the data."""


@dataclass(frozen=True)
class Layers:
    """Absorbing layers, the same on all sides.

    Attributes:
        cells: their number.
        spacing: h, km.
        sigma_max: damping at the rim, 1/s.
        order: of the stencil.
    """

    cells: int
    spacing: float
    sigma_max: float
    order: int = 4

    @classmethod
    def choose(
        cls,
        spacing: float,
        frequency: float,
        velocity: float,
        width: float | None = None,
        sigma_max: float | None = None,
        order: int = 4,
    ) -> Layers:
        """Layers for a velocity (km/s) at frequencies of ``frequency`` (Hz) or more.

        Args:
            spacing: km.
            frequency: the lowest.
            velocity: that they are made for; they absorb well from a tenth of it to twice it.
            width: km, rounded up to cells, instead of the one chosen here.
            sigma_max: 1/s, likewise.
            order: of the stencil.

        Raises:
            ValueError: the width is of more than `MOST_CELLS` cells.
        """
        if width is None:
            wavelength = velocity / (frequency * spacing)
            cells = math.ceil(min(max(CELLS[0], PER_WAVELENGTH * wavelength), CELLS[1]))
            cells *= _cells_for_one(order)
        else:
            if width > MOST_CELLS * spacing:
                raise ValueError(
                    f"pml_width is {width:g} km at a spacing of {spacing:g} km; allowed are at "
                    f"most {MOST_CELLS} cells"
                )
            cells = max(1, math.ceil(width / spacing - 1e-9))
        if sigma_max is None:
            worth = cells / _cells_for_one(order)
            attenuation = min(ATTENUATION, worth**2 / 3)
            sigma_max = 3 * attenuation * velocity / (2 * cells * spacing)
        return cls(cells, spacing, sigma_max, order)

    def fault(self, velocity: float, frequency: float) -> str:
        """What keeps these layers from absorbing, or an empty string.

        The bounds hold errors of data below about three per cent, with sources and receivers two
        nodes from the layers.
        """
        attenuation = 2 * self.sigma_max * self.cells * self.spacing / (3 * velocity)
        points = velocity / (frequency * self.spacing)
        worth = self.cells / _cells_for_one(self.order)
        if attenuation < LEAST_ATTENUATION:
            return "damp too little"
        if attenuation > worth**2:
            return f"damp too much for {self.cells} cells"
        if worth < min(points / 8, 10):
            return f"are too thin with {self.cells} cells"
        return ""


def _cells_for_one(order: int) -> int:
    """Cells that absorb as much as one of a stencil of fourth order."""
    return 2 if order < 4 else 1
