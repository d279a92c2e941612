"""Coefficients and wave speeds as unknowns: the cosine series, bounds, composition."""

import math

import pytest
import torch
from pydantic import ValidationError
from scipy.fft import dctn

from mempost.core.errors import ShapeError
from mempost.core.operator import ForwardOperator, compose
from mempost.core.streams import Streams
from mempost.methods.waves.bounded import OutOfBoundsError
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine
from mempost.plugins.operators.slowness import Slowness
from mempost.plugins.operators.squared_slowness import SquaredSlowness
from mempost.plugins.operators.standardise import Standardise
from mempost.plugins.operators.velocity import Velocity
from mempost.testing import check_operator

KINDS = [SquaredSlowness, Slowness, Velocity]


def normal(*shape, seed=0):
    return Streams(seed, "metric").at().normal(shape)


def test_series_written_out():
    kl = KLCosine(shape=(6, 5), modes=(2, 3), mean=0.3, scale=0.1, decay=1.5, shift=2.0)
    z = normal(1, 6)
    expected = torch.full((6, 5), 0.3, dtype=torch.float64)
    for k, (k_1, k_2) in enumerate((a, b) for a in (1, 2) for b in (1, 2, 3)):
        squares = math.pi**2 * ((k_1 + 0.5) ** 2 + (k_2 + 0.5) ** 2)
        for i in range(6):
            for j in range(5):
                phi = math.cos(math.pi * (k_1 + 0.5) * (i + 0.5) / 6)
                phi *= 2 * math.cos(math.pi * (k_2 + 0.5) * (j + 0.5) / 5)
                expected[i, j] += 0.1 * float(z[0, k]) * (squares + 2.0) ** -0.75 * phi
    assert torch.allclose(kl(z)[0], expected, rtol=1e-13)


@pytest.mark.parametrize("first_index", [0, 1])
@pytest.mark.parametrize("shape", [(64, 64), (23, 31)])
def test_round_trip_inside_the_span(shape, first_index):
    kl = KLCosine(shape=shape, first_index=first_index)
    z = normal(3, 100)
    assert torch.allclose(kl.project(kl(z)), z, rtol=0, atol=1e-12)
    field = kl(z)
    assert torch.allclose(kl(kl.project(field)), field, rtol=1e-12)
    assert torch.allclose(kl.energy_kept(field), torch.ones(3).double(), rtol=1e-12)


def test_columns_are_orthogonal():
    kl = KLCosine(shape=(32, 32))
    g = kl.jacobian(normal(1, 100))[1][0]
    gram = g.mT @ g / (g.square().sum(0).outer(g.square().sum(0))).sqrt()
    assert torch.allclose(gram, torch.eye(100).double(), atol=1e-13)


def test_the_complete_basis_is_the_cosine_transform():
    kl = KLCosine(shape=(8, 8), modes=(8, 8), first_index=0, mean=0.0, scale=1.0, decay=0.0)
    m = normal(2, 8, 8)
    z = kl.project(m)
    assert torch.allclose(kl(z), m, rtol=0, atol=1e-13)
    expected = dctn(m[0].numpy(), type=4, norm="ortho") / 8
    assert torch.allclose(z[0].reshape(8, 8), torch.from_numpy(expected), atol=1e-13)
    assert torch.allclose(kl.energy_kept(m), torch.ones(2).double())


def test_energy_outside_the_span():
    kl = KLCosine(shape=(16, 16), modes=(3, 3))
    other = KLCosine(shape=(16, 16), modes=(1, 1), first_index=4)
    inside, outside = kl(normal(2, 9)) - 0.25, other(normal(2, 1, seed=1)) - 0.25
    expected = inside.square().sum((1, 2)) / (inside + outside).square().sum((1, 2))
    assert torch.allclose(kl.energy_kept(0.25 + inside + outside), expected, rtol=1e-12)


def test_modes_that_the_grid_does_not_carry():
    with pytest.raises(ShapeError, match="9 nodes carry modes 0 to 8, asked for are 1 to 9"):
        KLCosine(shape=(12, 9), modes=(9, 9))(normal(1, 81))
    with pytest.raises(ShapeError, match="projects fields of shape"):
        KLCosine(shape=(12, 12)).project(normal(1, 12, 13))


@pytest.mark.parametrize("kind", KINDS)
def test_parametrisations_agree_and_stay_in_bounds(kind):
    v = torch.tensor([[1.2, 2.0, 3.3, 4.9]]).double()
    for enforce in ("clip", "logistic"):
        operator = kind(bounds=(1.1, 5.0), enforce=enforce)
        assert torch.allclose(operator(operator.project(v**-2)), v**-2, rtol=1e-12)
        extreme = operator(torch.tensor([[-1e3, 0.0, 1e3]]).double())
        assert extreme.min() >= 5.0**-2 * (1 - 1e-12) and extreme.max() <= 1.1**-2 * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("enforce", ["clip", "logistic"])
def test_public_checks(kind, enforce):
    operator = kind(bounds=(1.0, 6.0), enforce=enforce)
    inside = operator.project((2 + 0.3 * torch.tanh(normal(4, 5, 4))) ** -2)
    check_operator(operator, models=inside)


def test_clipping_stops_derivatives_at_the_bounds():
    operator = Velocity(bounds=(1.5, 3.0))
    m, jacobian = operator.jacobian(torch.tensor([[1.0, 2.0, 4.0]]).double())
    assert torch.allclose(m, torch.tensor([[1 / 2.25, 0.25, 1 / 9]]).double())
    assert torch.allclose(jacobian[0].diagonal(), torch.tensor([0.0, -0.25, 0.0]).double())


def test_bounds():
    with pytest.raises(ValidationError, match="0 < low < high"):
        Slowness(bounds=(3.0, 1.5))
    with pytest.raises(OutOfBoundsError, match=r"from 2 to 4 km/s; bounds are 1\.5 to 3"):
        Velocity(bounds=(1.5, 3.0), enforce="logistic").project(
            torch.tensor([[1 / 4, 1 / 16]]).double()
        )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_same_coefficients_on_another_grid_and_stencil():
    """Data from one discretisation, inversion with another: no inverse crime, small model error."""

    def physics(n, stencil):
        return compose(
            [
                Helmholtz(
                    shape=(n, n),
                    spacing=1.0 / n,
                    frequencies=(4.0,),
                    stencil=stencil,
                    sources=[[0.31, 0.11], [0.72, 0.13]],
                    receivers={"start": (0.1, 0.9), "stop": (0.9, 0.9), "number": 5},
                ),
                SquaredSlowness(),
                KLCosine(shape=(n, n), modes=(3, 3)),
                Standardise(location=[0.1] * 9, scale=[2.0] * 9),
            ]
        )

    z = normal(2, 9)
    fine, coarse, other = physics(80, "compact"), physics(24, "compact"), physics(80, "five_point")
    exact = fine(z)
    for operator, low, high in ((coarse, 1e-3, 0.02), (other, 1e-3, 0.04)):
        error = float((operator(z) - exact).norm() / exact.norm())
        assert low < error < high
    jacobian = coarse.jacobian(z)[1]
    expected = ForwardOperator.jacobian(coarse, z)[1]
    assert torch.allclose(jacobian, expected, rtol=1e-9, atol=1e-12)
