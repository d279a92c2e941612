"""Hypothesis strategies: noise levels, states, Gaussian mixtures, small linear problems.

    @given(prior=gaussian_mixtures(), level=noise_levels(), data=st.data())
    def test_tweedie(prior, level, data):
        z = data.draw(states(prior.dimension))

Numbers are moderate (covariances have eigenvalues between 0.01 and about 10) so that rounding stays
far below the tolerances of `mempost.testing.comparison`; extremes belong in tests of their own.
"""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

from mempost.core.arrays import FrozenArray
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.level import NoiseLevel
from mempost.core.problem import InverseProblem
from mempost.core.streams import Streams
from mempost.testing.reference import DenseMixture, MatrixOperator


def _floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


def seeds() -> st.SearchStrategy[int]:
    """Seeds of random streams."""
    return st.integers(0, 2**31 - 1)


@st.composite
def noise_levels(draw: st.DrawFn, batch: int | None = None) -> NoiseLevel:
    """Levels z = a x + s e, variance exploding or preserving, 1e-3 <= s <= 100.

    Args:
        draw: given by hypothesis.
        batch: give one level a row, tensors of shape (batch,).
    """

    def one() -> tuple[float, float]:
        if draw(st.booleans()):
            return 1.0, 10 ** draw(_floats(-3, 2))
        s = draw(_floats(1e-3, 0.999))
        return math.sqrt(1 - s**2), s

    if batch is None:
        return NoiseLevel(*one())
    a, s = torch.tensor([one() for _ in range(batch)], dtype=torch.float64).unbind(-1)
    return NoiseLevel(a, s)


@st.composite
def states(
    draw: st.DrawFn,
    dimension: int,
    batch: int | None = None,
    dtype: torch.dtype = torch.float64,
    size: float = 3.0,
) -> Tensor:
    """States z (batch, dimension) with entries in [-size, size].

    Args:
        draw: given by hypothesis.
        dimension: number of coordinates.
        batch: number of rows; 1 to 4 where it is not given.
        dtype: of the tensor.
        size: the largest absolute value.
    """
    rows = draw(st.integers(1, 4)) if batch is None else batch
    row = st.lists(_floats(-size, size), min_size=dimension, max_size=dimension)
    return torch.tensor([draw(row) for _ in range(rows)], dtype=torch.float64).to(dtype)


@st.composite
def gaussian_mixtures(
    draw: st.DrawFn,
    max_components: int = 4,
    max_dimension: int = 3,
    dimension: int | None = None,
) -> DenseMixture:
    """Mixtures with dense covariances, float64.

    Args:
        draw: given by hypothesis.
        max_components: the most components.
        max_dimension: the most dimensions, where ``dimension`` is not given.
        dimension: number of dimensions.
    """
    n = draw(st.integers(1, max_components))
    d = draw(st.integers(1, max_dimension)) if dimension is None else dimension
    weights = torch.tensor(draw(st.lists(_floats(0.1, 1), min_size=n, max_size=n))).double()
    stream = Streams(draw(seeds()), "truth").at()
    means = 2 * stream.normal((n, d))
    lower = 0.5 * stream.normal((n, d, d)).tril(-1)
    scales = torch.tensor(draw(st.lists(_floats(0.2, 1.5), min_size=n, max_size=n))).double()
    factors = scales[:, None, None] * (torch.eye(d, dtype=torch.float64) + lower)
    return DenseMixture(weights / weights.sum(), means, factors)


@st.composite
def linear_problems(
    draw: st.DrawFn, max_dimension: int = 3, complex_data: bool | None = None
) -> InverseProblem:
    """A mixture prior, a dense linear operator and data drawn from the prior, float64.

    `mempost.testing.reference.solve` gives the exact posterior.

    Args:
        draw: given by hypothesis.
        max_dimension: the most unknowns and the most data.
        complex_data: whether data are complex; either where it is not given.
    """
    prior = draw(gaussian_mixtures(max_dimension=max_dimension))
    m = draw(st.integers(1, max_dimension))
    is_complex = draw(st.booleans()) if complex_data is None else complex_data
    stream = Streams(draw(seeds()), "truth").at()
    matrix = stream.normal((m, prior.dimension))
    if is_complex:
        matrix = torch.complex(matrix, stream.normal((m, prior.dimension)))
    operator = MatrixOperator(matrix=FrozenArray(matrix))
    noise = GaussianNoise(draw(_floats(0.1, 2)), is_complex)
    truth = prior.draw_tile(stream)[:1]
    return InverseProblem(prior, operator, noise, noise.perturb(operator(truth)[0], stream))
