"""The operators against formulas, finite differences, adjoints and independent implementations."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import ndimage

from mempost.core.coordinates import Coordinates
from mempost.core.errors import PluginError, ShapeError
from mempost.core.fields import PluginField
from mempost.core.operator import ForwardOperator
from mempost.methods.geometry.mask_patterns import Box, Half, RandomPixels, Subsample
from mempost.plugins.operators.blur import Blur
from mempost.plugins.operators.identity import Identity
from mempost.plugins.operators.linear import Linear
from mempost.plugins.operators.mask import Mask
from mempost.plugins.operators.piecewise_linear import PiecewiseLinear
from mempost.plugins.operators.polynomial import Polynomial
from mempost.plugins.operators.quadratic_2d import Quadratic2D
from mempost.plugins.operators.standardise import Standardise

RNG = np.random.default_rng(0)
MATRIX, COMPLEX = RNG.normal(size=(4, 6)), RNG.normal(size=(4, 6)) + 1j * RNG.normal(size=(4, 6))
JUMP = PiecewiseLinear(knots=[0], slopes=[1, 5], intercepts=[2, -10])

CASES: dict[str, tuple[ForwardOperator, tuple[int, ...]]] = {
    "identity": (Identity(), (2, 3)),
    "linear": (Linear(matrix=MATRIX, offset=RNG.normal(size=4)), (6,)),
    "linear on images": (Linear(matrix=MATRIX), (2, 3)),
    "linear, complex": (Linear(matrix=COMPLEX, offset=RNG.normal(size=4)), (6,)),
    "linear, complex offset": (Linear(matrix=MATRIX, offset=COMPLEX[:, 0]), (6,)),
    "mask, indices": (Mask(shape=(6,), keep=(4, 0, 1)), (6,)),
    "mask, box": (Mask(shape=(2, 5, 4), pattern=Box(size=2)), (2, 5, 4)),
    "blur": (Blur(width=1.3), (4, 3)),
    "blur, zero": (Blur(width=0.7, boundary="zero"), (5, 1)),
    "blur, periodic": (Blur(width=3.0, boundary="periodic"), (2, 5)),
    "polynomial": (Polynomial(coefficients=[0, 1, 0, 0.3]), (3,)),
    "polynomial, constant": (Polynomial(coefficients=[2.0]), (2, 2)),
    "quadratic": (Quadratic2D(), (2,)),
    "piecewise": (JUMP, (2, 3)),
    "standardise": (Standardise(location=[1, 2, 3, 4], scale=[0.1, 1, 2, 10]), (4,)),
    "standardise images": (Standardise(location=[1, 2, 3, 4], scale=[0.1, 1, 2, 10]), (2, 2)),
    "composition": (
        Linear(matrix=COMPLEX) @ Polynomial(coefficients=[0, 1, 1]) @ Blur(width=0.5),
        (3, 2),
    ),
    "composition of masks": (
        Mask(shape=(4,), keep=(1, 3))
        @ Linear(matrix=COMPLEX)
        @ Standardise(location=[0] * 6, scale=[2] * 6),
        (6,),
    ),
}
each = pytest.mark.parametrize("operator, shape", CASES.values(), ids=CASES)


def models(shape: tuple[int, ...], n: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(seed)).double()


def flat_values(operator: ForwardOperator, x: torch.Tensor) -> torch.Tensor:
    return operator(x).flatten(1)


@each
def test_range_shape_and_dtype(operator: ForwardOperator, shape: tuple[int, ...]) -> None:
    for dtype in (torch.float64, torch.float32):
        y = operator(models(shape).to(dtype))
        assert tuple(y.shape) == (3, *operator.range_shape(shape))
        assert y.dtype == (dtype.to_complex() if operator.is_complex else dtype)
    torch.testing.assert_close(
        y.to(torch.complex128), operator(models(shape)).to(torch.complex128), rtol=1e-5, atol=1e-5
    )


@each
def test_jacobian_equals_finite_differences(
    operator: ForwardOperator, shape: tuple[int, ...]
) -> None:
    x, h = models(shape), 1e-5
    value, jacobian = operator.jacobian(x)
    torch.testing.assert_close(value, operator(x), rtol=0, atol=0)
    assert jacobian.shape == (3, math.prod(operator.range_shape(shape)), math.prod(shape))
    for i in range(math.prod(shape)):
        step = torch.zeros(math.prod(shape), dtype=torch.float64)
        step[i] = h
        up, down = (flat_values(operator, x + s * step.reshape(shape)) for s in (1, -1))
        # truncation h^2 F''' / 6 and rounding 1e-16 |F| / h, both below 1e-9 here
        torch.testing.assert_close(jacobian[:, :, i], (up - down) / (2 * h), rtol=1e-8, atol=1e-8)


@each
@pytest.mark.parametrize("rows", [1, 3])
def test_jacobian_product_equals_forward_differentiation(
    operator: ForwardOperator, shape: tuple[int, ...], rows: int
) -> None:
    x, basis = models(shape), models((math.prod(shape), 4), n=rows, seed=2)
    value, product = operator.jacobian(x, basis)
    expected_value, expected = ForwardOperator.jacobian(operator, x, basis)
    torch.testing.assert_close(value, expected_value, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(product, expected, rtol=1e-12, atol=1e-12)


@each
def test_dot_test(operator: ForwardOperator, shape: tuple[int, ...]) -> None:
    """Re <J v, w> = <v, J* w>, the real inner product on both sides."""
    x, v = models(shape), models(shape, seed=3)
    y, forward = operator.jvp(x, v)
    w = models(tuple(y.shape[1:]), seed=4)
    if operator.is_complex:
        w = torch.complex(w, models(tuple(y.shape[1:]), seed=5))
    _, adjoint = operator.vjp(x, w)
    left = (forward.conj() * w).real.flatten(1).sum(1)
    right = (v * adjoint).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@each
def test_rows_do_not_depend_on_their_neighbours(
    operator: ForwardOperator, shape: tuple[int, ...]
) -> None:
    x = models(shape, n=5)
    alone = torch.cat([operator(row[None]) for row in x])
    torch.testing.assert_close(operator(x), alone, rtol=1e-12, atol=1e-12)


@each
def test_linear_exactly_if_declared(operator: ForwardOperator, shape: tuple[int, ...]) -> None:
    x = models(shape, n=2)
    a, b, middle, zero = operator(torch.stack([x[0], x[1], 2 * x[0] - 3 * x[1], 0 * x[0]]))
    linear = torch.allclose(middle - zero, 2 * (a - zero) - 3 * (b - zero), rtol=0, atol=1e-11)
    assert linear == operator.is_linear


@pytest.mark.parametrize(
    "operator", [c[0] for k, c in CASES.items() if not k.startswith("composition")]
)
def test_specs_survive_a_round_trip(operator: ForwardOperator) -> None:
    field = PluginField("operator")
    spec = field.dump(operator)
    again = TypeAdapter(ForwardOperator).validate_python(operator)
    assert again == operator and hash(again) == hash(operator)
    assert type(operator).model_validate({k: v for k, v in spec.items() if k != "type"}) == operator


def test_tables_made_under_a_transform_can_be_used_after_it() -> None:
    x = models((6,))
    under_jvp, under_inference = Linear(matrix=MATRIX + 1), Linear(matrix=MATRIX + 2)
    torch.func.vmap(lambda v: torch.func.jvp(under_jvp, (x,), (v,))[1])(models((3, 6)))
    with torch.inference_mode():
        under_inference(x)
    for operator, shift in ((under_jvp, 1), (under_inference, 2)):
        z = x.clone().requires_grad_()
        operator(z).sum().backward()
        expected = torch.from_numpy((MATRIX + shift).sum(0)).expand(3, 6)
        torch.testing.assert_close(z.grad, expected)


# -- linear -----------------------------------------------------------------------------------


def test_linear_is_its_matrix() -> None:
    x, b = models((6,)), RNG.normal(size=4)
    expected = x.numpy() @ COMPLEX.T + b
    torch.testing.assert_close(Linear(matrix=COMPLEX, offset=b)(x), torch.from_numpy(expected))
    written = Linear.model_validate(
        {"matrix": {"real": COMPLEX.real.tolist(), "imag": COMPLEX.imag.tolist()}}
    )
    assert written == Linear(matrix=COMPLEX)


def test_linear_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"models of 6 numbers, found shape \(5,\)"):
        Linear(matrix=MATRIX)(models((5,)))
    with pytest.raises(ShapeError, match="6 numbers"):
        (Identity() @ Linear(matrix=MATRIX)).check_domain((7,))
    with pytest.raises(ValidationError, match=r"offset should hold 4 numbers.*found 3"):
        Linear(matrix=MATRIX, offset=[1, 2, 3])


# -- masks ------------------------------------------------------------------------------------


def test_mask_patterns_hide_what_they_say() -> None:
    def drawing(hidden: np.ndarray) -> list[str]:
        return ["".join("#" if h else "." for h in row) for row in np.atleast_2d(hidden)]

    assert drawing(Box(size=2).hidden((4, 5))) == [".....", ".##..", ".##..", "....."]
    assert drawing(Box(size=(1, 3)).hidden((3, 3))) == ["...", "###", "..."]
    assert drawing(Box(size=2).hidden((6,))) == ["..##.."]
    assert drawing(Half().hidden((2, 5))) == ["...##"] * 2
    assert drawing(Half(side="left").hidden((2, 5))) == ["##..."] * 2
    assert drawing(Half(side="top").hidden((4, 2))) == ["##", "##", "..", ".."]
    assert drawing(Half(side="bottom").hidden((3, 2))) == ["..", "..", "##"]
    assert drawing(Subsample(step=2).hidden((3, 4))) == [".#.#", "####", ".#.#"]
    assert drawing(Subsample(step=3).hidden((7,))) == [".##.##."]


def test_mask_covers_all_channels_alike() -> None:
    mask = Mask(shape=(3, 4, 4), pattern=RandomPixels(fraction=0.25, seed=3))
    kept = np.zeros(48, dtype=bool)
    kept[mask.kept] = True
    channels = kept.reshape(3, 4, 4)
    assert kept.sum() == 36
    assert (channels == channels[0]).all()


def test_mask_adjoint_fills_with_zeros() -> None:
    mask = Mask(shape=(2, 3), keep=(5, 0))
    x = models((2, 3))
    y, adjoint = mask.vjp(x, torch.tensor([[1.0, 2.0]], dtype=torch.float64).expand(3, 2))
    torch.testing.assert_close(y, torch.stack([x[:, 1, 2], x[:, 0, 0]], 1))
    expected = torch.tensor([[2.0, 0, 0], [0, 0, 1.0]], dtype=torch.float64).expand(3, 2, 3)
    torch.testing.assert_close(adjoint, expected)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    fractions=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    seed=st.integers(0, 1000),
)
def test_random_masks_hide_a_share_and_are_nested(
    shape: tuple[int, int], fractions: tuple[float, float], seed: int
) -> None:
    few, many = (RandomPixels(fraction=f, seed=seed).hidden(shape) for f in sorted(fractions))
    assert few.sum() == round(min(fractions) * math.prod(shape))
    assert not (few & ~many).any()


def test_random_masks_are_spread_evenly() -> None:
    """Each pixel is hidden with the same probability: binomial over 400 seeds, 5 sigma."""
    counts = sum(RandomPixels(fraction=0.25, seed=s).hidden((4, 4)).astype(int) for s in range(400))
    assert abs(counts - 100).max() < 5 * math.sqrt(400 * 0.25 * 0.75)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"shape": [4]}, "give either keep or pattern"),
        ({"shape": [4], "keep": [1], "pattern": {"type": "half"}}, "give either keep or pattern"),
        ({"shape": [4], "keep": [1, 4]}, "keep holds 4; allowed are 0 to 3"),
        ({"shape": [4], "keep": [1, 1]}, "an index twice"),
        ({"shape": [4], "keep": [-1]}, "greater than or equal to 0"),
        ({"shape": [4], "keep": []}, "at least 1 item"),
        ({"shape": [0], "keep": [0]}, "greater than 0"),
        ({"shape": [4, 4], "pattern": {"type": "box", "size": 4}}, "hides all"),
        ({"shape": [4, 4], "pattern": {"type": "box", "size": 5}}, "does not fit a grid"),
        ({"shape": [4], "pattern": {"type": "box", "size": [1, 1]}}, "does not fit a grid"),
        ({"shape": [4], "pattern": {"type": "half", "side": "top"}}, "has no top"),
        ({"shape": [1], "pattern": {"type": "random", "fraction": 0.9}}, "hides all"),
        ({"shape": [4], "pattern": {"type": "bx"}}, "'box', 'half', 'subsample', 'random'"),
        ({"shape": [10**6, 10**6], "pattern": {"type": "half"}}, "at most"),
    ],
)
def test_mask_refuses(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Mask.model_validate(fields)


def test_mask_refuses_other_shapes() -> None:
    with pytest.raises(ShapeError, match=r"shape \(2, 2\), found \(4,\)"):
        Mask(shape=(2, 2), keep=(0,))(models((4,)))


# -- blur -------------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    width=st.floats(0.05, 8.0),
    boundary=st.sampled_from(["reflect", "zero", "periodic"]),
)
def test_blur_agrees_with_scipy(shape: tuple[int, int], width: float, boundary: str) -> None:
    mode = {"reflect": "reflect", "zero": "constant", "periodic": "wrap"}[boundary]
    x = models(shape, n=1)
    expected = ndimage.gaussian_filter(x[0].numpy(), width, mode=mode, radius=math.ceil(4 * width))
    blurred = Blur.model_validate({"width": width, "boundary": boundary})(x)[0]
    np.testing.assert_allclose(blurred.numpy(), expected, rtol=0, atol=1e-13)


def test_blur_of_constants_and_its_adjoint() -> None:
    ones = torch.ones(1, 7, 6, dtype=torch.float64)
    for boundary in ("reflect", "periodic"):
        blur = Blur(width=2.5, boundary=boundary)
        torch.testing.assert_close(blur(ones), ones, rtol=1e-14, atol=0)
    assert float(Blur(width=2.5, boundary="zero")(ones).max()) < 1
    assert torch.equal(Blur(width=1e-300)(ones), ones)
    x, w = models((7, 6)), models((7, 6), seed=6)
    for boundary in ("reflect", "zero", "periodic"):  # an even kernel under these rules: B = B^T
        blur = Blur(width=1.5, boundary=boundary)
        torch.testing.assert_close(blur.vjp(x, w)[1], blur(w), rtol=1e-13, atol=1e-13)


def test_blur_refuses_other_than_images() -> None:
    with pytest.raises(ShapeError, match=r"two axes, found shape \(4,\)"):
        Blur()(models((4,)))
    with pytest.raises(ValidationError, match="'reflect', 'zero' or 'periodic'"):
        Blur.model_validate({"boundary": "mirror"})


# -- nonlinear maps ---------------------------------------------------------------------------

finite = st.floats(-10, 10)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(coefficients=st.lists(finite, min_size=1, max_size=7), x=st.lists(finite, min_size=1))
def test_polynomial_agrees_with_numpy(coefficients: list[float], x: list[float]) -> None:
    polynomial = np.polynomial.Polynomial(coefficients)
    value, jacobian = Polynomial(coefficients=coefficients).jacobian(
        torch.tensor([x], dtype=torch.float64)
    )
    # rounding is relative to the sum of the absolute terms
    size = np.polynomial.Polynomial(np.abs(coefficients))
    tolerance = 1e-14 * size(np.abs(x)) + 1e-300
    assert (np.abs(value[0].numpy() - polynomial(x)) <= tolerance).all()
    tolerance = 1e-14 * size.deriv()(np.abs(x)) + 1e-300
    error = np.abs(jacobian[0].numpy() - np.diag(polynomial.deriv()(np.array(x))))
    assert (error <= np.diag(tolerance)).all()


def test_polynomial_of_figure_1() -> None:
    x = torch.tensor([[-1.5], [-0.4], [0.4], [1.2], [2.5]], dtype=torch.float64)
    expected = torch.tensor(
        [[-2.5125], [-0.4192], [0.4192], [1.7184], [7.1875]], dtype=torch.float64
    )
    cubic = Polynomial(coefficients=[0, 1, 0, 0.3])
    torch.testing.assert_close(cubic(x), expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(cubic.jacobian(x)[1].squeeze(-1), 1 + 0.9 * x**2)


def test_polynomial_knows_whether_it_is_linear() -> None:
    assert Polynomial(coefficients=[1, 2]).is_linear
    assert Polynomial(coefficients=[1, 2, 0]).is_linear
    assert not Polynomial(coefficients=[0, 0, 1]).is_linear
    with pytest.raises(ValidationError, match="real numbers only"):
        Polynomial(coefficients={"real": [1], "imag": [1]})


def test_quadratic_of_figure_1() -> None:
    angle = 2 * math.pi / 5 * torch.arange(5, dtype=torch.float64)
    pentagon = 2 * torch.stack([angle.cos(), angle.sin()], -1)
    y = Quadratic2D()(0.7 * pentagon[:1])
    torch.testing.assert_close(y, torch.tensor([[1.4, 0.392]], dtype=torch.float64))
    misfit = (y - Quadratic2D()(pentagon)).square().sum(-1)
    expected = torch.tensor([0.5265, 2.7013, 14.587, 7.0796, 6.2057], dtype=torch.float64)
    torch.testing.assert_close(misfit, expected, rtol=0, atol=5e-4)
    with pytest.raises(ShapeError, match=r"shape \(2,\), found \(3,\)"):
        Quadratic2D()(models((3,)))
    assert Quadratic2D(a=0, b=0).is_linear


def test_piecewise_linear_jumps_at_its_knot() -> None:
    x = torch.tensor([[-2.0, -1e-9, 0.0, 2.0, 3.0]], dtype=torch.float64)
    value, jacobian = JUMP.jacobian(x)
    torch.testing.assert_close(value, torch.where(x < 0, x + 2, 5 * (x - 2)))
    torch.testing.assert_close(
        jacobian[0].diagonal(), torch.tensor([1.0, 1, 5, 5, 5], dtype=torch.float64)
    )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    knots=st.lists(finite, min_size=1, max_size=6, unique=True).map(sorted),
    x=st.lists(finite, min_size=1),
    data=st.data(),
)
def test_piecewise_linear_agrees_with_numpy(
    knots: list[float], x: list[float], data: st.DataObject
) -> None:
    size = len(knots) + 1
    slopes, intercepts = (
        data.draw(st.lists(finite, min_size=size, max_size=size)) for _ in range(2)
    )
    operator = PiecewiseLinear(knots=knots, slopes=slopes, intercepts=intercepts)
    points = np.array(x)
    inside = [points < knots[0]]
    inside += [(points >= a) & (points < b) for a, b in zip(knots, [*knots[1:], np.inf])]
    lines = [lambda u, a=a, b=b: a + b * u for a, b in zip(intercepts, slopes)]
    expected = np.piecewise(points, inside, lines)
    np.testing.assert_allclose(
        operator(torch.tensor([x], dtype=torch.float64))[0], expected, rtol=0, atol=1e-13
    )


def test_piecewise_linear_refuses_pieces_that_do_not_fit() -> None:
    with pytest.raises(ValidationError, match="increase strictly"):
        PiecewiseLinear(knots=[0, 0], slopes=[1, 1, 1], intercepts=[0, 0, 0])
    with pytest.raises(ValidationError, match=r"slopes should hold 2 numbers.*found 1"):
        PiecewiseLinear(knots=[0], slopes=[1], intercepts=[0, 0])


# -- coordinates ------------------------------------------------------------------------------


def test_standardise_takes_its_numbers_from_the_prior() -> None:
    raw = 5 + 3 * models((4,), n=50)
    prior = SimpleNamespace(coordinates=Coordinates.standardising(raw))
    unresolved = Standardise.model_validate({"from": "prior"})
    assert unresolved == Standardise(from_="prior")
    resolved = (Linear(matrix=MATRIX[:, :4]) @ unresolved).resolve(prior)  # type: ignore[arg-type]
    x = prior.coordinates.from_raw(raw)
    torch.testing.assert_close(resolved(x), Linear(matrix=MATRIX[:, :4])(raw))
    assert unresolved.from_ == "prior"
    explicit = Standardise(location=[1.0], scale=[2.0])
    assert explicit.resolve(prior) is explicit  # type: ignore[arg-type]


def test_standardise_is_written_with_from() -> None:
    spec = PluginField("operator").dump(Standardise(from_="prior"))
    assert spec["from"] == "prior"
    assert "from_" not in spec
    assert Standardise.model_json_schema()["properties"]["from"]


def test_standardise_refuses() -> None:
    unresolved = Standardise(from_="prior")
    for call in (unresolved, unresolved.jacobian):
        with pytest.raises(PluginError, match=r"call operator.resolve\(fitted_prior\) first"):
            call(models((4,)))
    resolved = Standardise(location=[1.0, 2.0], scale=[1.0, 1.0])
    with pytest.raises(ShapeError, match="2 numbers, found shape"):
        resolved(models((3,)))
    for fields, message in (
        ({}, "either `from: prior`, or both"),
        ({"location": [1.0]}, "either `from: prior`, or both"),
        ({"from": "prior", "location": [1.0], "scale": [1.0]}, "either `from: prior`, or both"),
        ({"location": [1.0], "scale": [1.0, 2.0]}, "location holds 1 numbers, scale 2"),
        ({"location": [1.0], "scale": [0.0]}, "positive"),
        ({"from": "data"}, "'prior'"),
    ):
        with pytest.raises(ValidationError, match=message):
            Standardise.model_validate(fields)
