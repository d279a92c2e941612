"""Frequency-domain acoustic waves: squared slowness m = 1/v^2 to pressure at receivers.

    Laplacian u + omega^2 m u = f        (time dependence exp(-i omega t), waves leave the model)

with a point source f = delta(x - x_s) for each source, so that u = -(i/4) H_0^(1)(k r) in a
homogeneous medium. Data are u at the receivers, for each frequency and source. The model is
continued beyond its edge into absorbing layers, and derivatives account for that.

The Jacobian is the adjoint-state one: d = R E A(m)^-1 E R_s^T, A complex-symmetric, and one
factorisation a model and frequency serves fields, adjoints, tangents and the whole Jacobian.

References: Plessix 2006, "A review of the adjoint-state method for computing the gradient of a
functional with geophysical applications"; Virieux & Operto 2009, "An overview of full-waveform
inversion in exploration geophysics".
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import torch
from jaxtyping import Complex, Float
from pydantic import Field, model_validator
from torch import Tensor

from mempost.core.operator import ForwardOperator, Shape
from mempost.core.publication import Publication
from mempost.core.streams import Stream
from mempost.methods.bibliography import PLESSIX_2006_REVIEW, VIRIEUX_2009_OVERVIEW
from mempost.methods.waves.acquisition import (
    Positions,
    check_positions,
    line,
    rms_distance,
)
from mempost.methods.waves.backends import Backend
from mempost.methods.waves.backends.superlu import SuperLU
from mempost.methods.waves.discretisation import Discretisation
from mempost.methods.waves.grid import Grid, Side
from mempost.methods.waves.interpolation import Points, Reading
from mempost.methods.waves.layers import Layers
from mempost.methods.waves.near_field import Pairs, near_field
from mempost.methods.waves.reciprocity import jacobian_products
from mempost.methods.waves.solve import Factorisation, Solve
from mempost.methods.waves.stencils import STENCILS, StencilName

Frequency = Annotated[float, Field(gt=0)]


class Helmholtz(ForwardOperator):
    """Acoustic waves at given frequencies: squared slowness (s^2/km^2) to complex data.

    Models have shape (n_x, n_z) and data (frequency, source, receiver). Positions are (x, z) in
    km from the upper left corner of the model, z downwards, anywhere inside; nodes are at the
    centres of cells. float32 models give complex64 data, float64 models complex128. The defaults
    are a square of 2 km with 15 sources near its top and 196 receivers near its bottom. Absorbing
    layers are chosen for the spacing and the lowest frequency (see `layers`).
    """

    tags = frozenset({"complex"})
    publications: ClassVar[tuple[Publication, ...]] = (PLESSIX_2006_REVIEW, VIRIEUX_2009_OVERVIEW)
    shape: tuple[Annotated[int, Field(ge=4)], Annotated[int, Field(ge=4)]] = Field(
        (50, 50), description="nodes of the model, (n_x, n_z)", examples=[(14, 11)]
    )
    spacing: float = Field(0.04, gt=0, description="distance of nodes in km")
    frequencies: tuple[Frequency, ...] = Field((6.0,), min_length=1, description="Hz")
    sources: Positions = Field(
        line((0.025, 0.025), (1.975, 0.025), 15),
        description="positions (x, z) in km: rows, or {start, stop, number}",
        examples=[[[0.1, 0.05], [0.4, 0.07]]],
    )
    receivers: Positions = Field(
        line((0.025, 1.975), (1.975, 1.975), 196),
        description="positions (x, z) in km: rows, or {start, stop, number}",
        examples=[{"start": [0.05, 0.4], "stop": [0.5, 0.4], "number": 6}],
    )
    stencil: StencilName = Field(
        "compact", description="compact (fourth order) or five_point (second order)"
    )
    pml_velocity: float = Field(
        4.0, gt=0, description="velocity for which the absorbing layers are made, km/s"
    )
    pml_width: float | None = Field(
        None, gt=0, description="their width in km instead of the one chosen"
    )
    pml_max: float | None = Field(
        None, gt=0, description="damping at their rim in 1/s instead of the one chosen"
    )
    free_surface: tuple[Side, ...] = Field(
        (), max_length=3, description="sides with vanishing pressure instead of a layer"
    )
    backend: Backend = Field(SuperLU(), description="superlu, pardiso or batched")

    @model_validator(mode="after")
    def _positions(self) -> Self:
        check_positions(self.grid, sources=self.sources, receivers=self.receivers)
        return self

    @property
    def layers(self) -> Layers:
        """Absorbing layers."""
        return Layers.choose(
            self.spacing,
            min(self.frequencies),
            self.pml_velocity,
            self.pml_width,
            self.pml_max,
            STENCILS[self.stencil].order,
        )

    @property
    def grid(self) -> Grid:
        """Nodes and layers."""
        return Grid.build(self.shape, self.spacing, self.layers.cells, self.free_surface)

    @property
    def domain_shape(self) -> Shape:
        return self.shape

    def range_shape(self, domain_shape: Shape) -> Shape:
        return (len(self.frequencies), len(self.sources), len(self.receivers))

    def example_models(self, shape: Shape, stream: Stream) -> Float[Tensor, "4 n_x n_z"]:
        """Velocities around 2 km/s, rough."""
        return 0.25 + 0.02 * stream.normal((4, *shape))

    def factorisation(self, frequency: float) -> Factorisation:
        """A solver at one frequency, which keeps the factors of the models it met last."""
        sigma_max = self.layers.sigma_max
        discretisation = Discretisation(self.grid, self.stencil, frequency, sigma_max)
        distance = rms_distance(self.sources, self.receivers)
        return Factorisation(discretisation, self.backend, distance)

    def wavefields(
        self, m: Float[Tensor, "batch n_x n_z"], frequency: float
    ) -> Complex[Tensor, "batch s N_x N_z"]:
        """Pressure on the grid with its layers, for each source.

        This is E A^-1 E R_s^T, of which data are the values at the receivers. Within a few cells
        of a source it has the grid's error, of which data are corrected (see `near_field`).
        """
        u, reading = self._solve(m, frequency)
        return reading.unsqueeze(1) * u

    def forward(self, x: Float[Tensor, "batch n_x n_z"]) -> Complex[Tensor, "batch f s r"]:
        receivers = Reading.at(Points(self.grid, self.receivers), x)
        data = [receivers.read(*self._solve(x, frequency)) for frequency in self.frequencies]
        return torch.stack(data, 1) + self._near_field(x)

    def _near_field(self, like: Tensor) -> Float[Tensor, "s r"]:
        pairs = Pairs(self.grid, self.stencil, self.sources, self.receivers)
        return near_field(pairs, dtype=like.dtype, device=like.device)

    def _solve(self, m: Tensor, frequency: float) -> tuple[Tensor, Tensor]:
        """A^-1 E R_s^T / h^2 (batch, s, N_x, N_z) and the diagonal of E (batch, N_x, N_z)."""
        factorisation = self.factorisation(frequency)
        d = factorisation.discretisation
        w = d.density(m)
        reading = d.reading(w)
        sources = Reading.at(Points(d.grid, self.sources), m)
        return Solve.apply(w, sources.spread(reading / self.spacing**2), factorisation), reading

    @torch.no_grad()
    def jacobian(
        self, x: Float[Tensor, "batch n_x n_z"], basis: Float[Tensor, "#batch d k"] | None = None
    ) -> tuple[Tensor, Tensor]:
        """F(x) and J(x) B by reciprocity, at most n_src + n_rec solves a model and frequency."""
        self.check_domain(tuple(x.shape[1:]))
        grid = self.grid
        sources = Reading.at(Points(grid, self.sources), x)
        receivers = Reading.reduced(Points(grid, self.receivers), x)
        for f in self.frequencies:  # all models before the first is solved for
            self.factorisation(f).check(x)
        models = []
        for i in range(len(x)):
            columns = None if basis is None else basis[i % len(basis)]
            parts = [
                jacobian_products(self.factorisation(f), x[i], sources, receivers, columns)
                for f in self.frequencies
            ]
            data, rows = zip(*parts, strict=True)
            models.append((torch.stack(data), torch.cat(rows)))
        all_data, all_rows = zip(*models, strict=True)
        return torch.stack(all_data) + self._near_field(x), torch.stack(all_rows)
