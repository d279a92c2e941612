"""Derivatives: dot tests, Taylor tests, finite differences, torch's own checks, reciprocity."""

import itertools

import numpy as np
import pytest
import torch

from mempost.core.autodiff import value_and_products
from mempost.core.counters import counting
from mempost.core.operator import ForwardOperator
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
STENCILS = ("compact", "five_point")


def small(**changes):
    """Odd sizes, not square, two frequencies, positions off the grid."""
    fields = {
        "shape": (9, 7),
        "spacing": 0.05,
        "frequencies": (3.0, 4.0),
        "sources": [[0.1, 0.03], [0.31, 0.12]],
        "receivers": [[0.05, 0.3], [0.2, 0.31], [0.4, 0.21]],
        "pml_width": 0.2,
        **changes,
    }
    return Helmholtz(**fields)


VARIANTS = {
    "odd and not square": {},
    "even": {"shape": (8, 10)},
    "free surface": {"free_surface": ("top",)},
    "three free surfaces": {"free_surface": ("left", "top", "right")},
    "one source": {"sources": [[0.2, 0.2]]},
    "one node layers": {"pml_width": 0.01},
}


def models(operator, batch=2, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(0.25 + 0.03 * rng.standard_normal((batch, *operator.shape))).to(dtype)


def normal(shape, seed, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    if dtype.is_complex:
        return (
            torch.from_numpy(rng.standard_normal((*shape, 2)))
            .view(torch.complex128)[..., 0]
            .to(dtype)
        )
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def inner(u, v):
    return float((u.conj() * v).real.sum())


def directions(shape):
    """Interior, edge-touching and smooth directions, by name."""
    interior = normal(shape, 5)
    interior[[0, -1]] = 0
    interior[:, [0, -1]] = 0
    edge = normal(shape, 6) - 0
    edge[1:-1, 1:-1] = 0
    x, z = (torch.cos(torch.pi * torch.arange(n).double() / (n - 1)) for n in shape)
    return {"interior": interior, "edge": edge, "smooth": x[:, None] * z + 0.5}


@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_dot_product(stencil, variant, dtype, tolerance):
    operator = small(stencil=stencil, **VARIANTS[variant])
    m = models(operator, dtype=dtype)
    v = normal(m.shape, 1, dtype)
    d, tangent = operator.jvp(m, v)
    w = normal(d.shape, 2, d.dtype)
    _, gradient = operator.vjp(m, w)
    size = float(w.norm() * tangent.norm())
    assert abs(inner(w, tangent) - inner(gradient, v)) <= tolerance * size


@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("name", ["interior", "edge", "smooth"])
def test_taylor_remainder_is_quadratic(stencil, name):
    operator = Helmholtz(
        shape=(24, 21),
        spacing=0.04,
        sources=[[0.1, 0.1], [0.8, 0.2]],
        receivers={"start": (0.05, 0.8), "stop": (0.9, 0.8), "number": 7},
        stencil=stencil,
    )
    m = models(operator, 1)
    v = directions(operator.shape)[name][None]
    v = 0.05 * v / v.abs().max()
    d, tangent = operator.jvp(m, v)
    steps = 10.0 ** -np.arange(0, 4.5, 0.5)
    remainders = [float((operator(m + h * v) - d - h * tangent).norm()) for h in steps]
    slopes = np.diff(np.log(remainders)) / np.diff(np.log(steps))
    quadratic = np.abs(slopes - 2) <= 0.1
    longest = max(len(list(run)) for ok, run in itertools.groupby(quadratic) if ok)
    assert longest * 0.5 >= 3  # decades


@pytest.mark.parametrize("backend", ["superlu", "batched"])
@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_jacobian_against_finite_differences(stencil, variant, backend):
    operator = small(stencil=stencil, backend=backend, **VARIANTS[variant])
    m, basis = models(operator), normal((2, 63, 3), 3)
    basis = normal((2, operator.shape[0] * operator.shape[1], 3), 3)
    d, jacobian = operator.jacobian(m)
    assert torch.allclose(d, operator(m), rtol=1e-12, atol=1e-14)
    h = 1e-3
    for k in range(3):
        v = basis[..., k].reshape(m.shape)

        def slope(h, v=v):
            return (operator(m + h * v) - operator(m - h * v)).flatten(1) / (2 * h)

        expected = (4 * slope(0.01 * h) - slope(0.02 * h)) / 3  # error h^4
        found = torch.einsum("bmd,bd->bm", jacobian, basis[..., k].to(jacobian.dtype))
        assert float((found - expected).norm() / expected.norm()) < 1e-6
    product = operator.jacobian(m, basis)[1]
    assert torch.allclose(product, jacobian @ basis.to(jacobian.dtype), rtol=1e-10, atol=1e-12)
    shared = operator.jacobian(m, basis[:1])[1]
    assert torch.allclose(shared, jacobian @ basis[:1].to(jacobian.dtype), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stencil", STENCILS)
def test_jacobian_by_reciprocity_equals_the_generic_one(stencil):
    operator = small(stencil=stencil, free_surface=("top",))
    m = models(operator)
    by_columns = ForwardOperator.jacobian(operator, m)[1]
    assert torch.allclose(operator.jacobian(m)[1], by_columns, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("stencil", STENCILS)
def test_gradcheck_forward_reverse_and_second_order(stencil):
    operator = small(
        stencil=stencil,
        shape=(5, 4),
        sources=[[0.1, 0.03]],
        receivers=[[0.05, 0.19], [0.2, 0.1]],
        frequencies=(3.0,),
        pml_width=0.1,
    )
    m = models(operator).requires_grad_()
    assert torch.autograd.gradcheck(operator, m, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(operator, m, check_fwd_over_rev=True)


def test_transforms_of_torch_func_compose():
    operator = small()
    m = models(operator, 3)

    def one(x):
        return torch.view_as_real(operator(x[None])[0])

    assert torch.equal(torch.func.vmap(one)(m), torch.view_as_real(operator(m)))
    forward = torch.func.jacfwd(one)(m[0])
    reverse = torch.func.jacrev(one)(m[0])
    assert torch.allclose(forward, reverse, rtol=1e-9, atol=1e-12)
    expected = torch.view_as_real(operator.jacobian(m[:1])[1].reshape(2, 2, 3, 9, 7)).movedim(-1, 3)
    assert torch.allclose(forward, expected, rtol=1e-9, atol=1e-12)
    batched = torch.func.vmap(torch.func.jacrev(one))(m)
    assert torch.allclose(batched[0], reverse, rtol=1e-9, atol=1e-12)


def test_products_by_double_backward():
    """The way in which samplers ask for J v."""
    operator = small()
    m = models(operator)
    v = normal(m.shape, 4)
    _, jvp, _ = value_and_products(lambda x: torch.view_as_real(operator(x)), m)
    assert torch.allclose(
        torch.view_as_complex(jvp(v)), operator.jvp(m, v)[1], rtol=1e-10, atol=1e-13
    )


def test_one_factorisation_serves_a_gradient():
    operator = small(frequencies=(3.0,))
    m = models(operator, 3)
    with counting() as counts:
        operator.vjp(m, torch.ones(3, 1, 2, 3, dtype=torch.complex128))
    assert counts == {"factorisations": 3, "pde_solves": 3 * (2 + 2)}
    with counting() as counts:
        operator.jacobian(m)
    assert counts == {"factorisations": 3, "pde_solves": 3 * (2 + 3)}
    with counting() as counts:
        value_and_products(lambda x: torch.view_as_real(operator(x)), m)[1](normal(m.shape, 0))
    assert counts["factorisations"] == 3


def line(along, across, number, axis):
    positions = np.full((number, 2), across)
    positions[:, axis] = np.linspace(*along, number)
    return positions


SCATTERED = np.random.default_rng(5).uniform((0.02, 0.15), (0.43, 0.33), (300, 2))
RECEIVERS = {
    "line along x": (line((0.03, 0.42), 0.31, 40, 0), 17),
    "line on nodes": (line((0.025, 0.425), 0.275, 9, 0), 9),
    "two lines along z": (
        np.concatenate([line((0.17, 0.33), x, 30, 1) for x in (0.11, 0.33)]),
        2 * 12,
    ),
    "a few": (SCATTERED[:6], 6),
    "more than nodes": (SCATTERED, 17 * 12),
}


@pytest.mark.parametrize("stencil", STENCILS)
@pytest.mark.parametrize("name", RECEIVERS)
def test_no_more_solves_than_independent_receivers(name, stencil):
    receivers, independent = RECEIVERS[name]
    operator = small(receivers=receivers, stencil=stencil, frequencies=(3.0,))
    m, basis = models(operator, 1), normal((1, 63, 3), 7)
    with counting() as counts:
        data, found = operator.jacobian(m, basis)
    assert counts["pde_solves"] <= 2 + independent
    assert torch.allclose(data, operator(m), rtol=1e-10, atol=1e-13)
    for k in range(3):
        expected = operator.jvp(m, basis[..., k].reshape(m.shape))[1].flatten()
        assert float((found[0, :, k] - expected).norm() / expected.norm()) < 1e-9


def test_composition_with_coefficients_carries_the_jacobian():
    operator = small() @ KLCosine(shape=(9, 7), modes=(3, 2))
    z = normal((2, 6), 8)
    jacobian = operator.jacobian(z)[1]
    assert torch.allclose(jacobian, ForwardOperator.jacobian(operator, z)[1], rtol=1e-9, atol=1e-13)


def test_padding_adjoint():
    grid = small(free_surface=("left",)).grid
    m, g = normal((3, 9, 7), 0), normal((3, *grid.padded_shape), 1)
    assert abs(inner(grid.pad(m), g) - inner(m, grid.fold(g))) < 1e-12
