"""Checks of forward operators: shapes, batches, precision, tags."""

from __future__ import annotations

import torch

from mempost.core.capabilities import HasProjection
from mempost.core.errors import ShapeError
from mempost.testing.check import NotApplicable, having
from mempost.testing.checks.operator_case import CHECKS, SOLVES, OperatorCase
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import require, require_close, require_equal
from mempost.testing.randomness import twice_under_global_seeds

__all__ = ["CHECKS", "SOLVES", "OperatorCase"]

add_recipe_checks(CHECKS)


@CHECKS.add()
def shapes(case: OperatorCase) -> None:
    """`range_shape` and the values of `forward` disagree, or a batch is not kept."""
    y = case.operator(case.x)
    expected = (len(case.x), *case.operator.range_shape(case.shape))
    require(tuple(y.shape) == expected, f"F(x) has shape {tuple(y.shape)}, expected {expected}.")


@CHECKS.add()
def wrong_shape_refused(case: OperatorCase) -> None:
    """A model of another shape than the domain's is not refused with a ShapeError."""
    if case.operator.domain_shape is None:
        raise NotApplicable("the operator takes models of any shape")
    try:
        case.operator(torch.zeros(2, *case.shape, 3).double())
    except ShapeError:
        return
    require(False, f"A model of shape {(*case.shape, 3)} was accepted.")


@CHECKS.add()
def batch_invariance(case: OperatorCase) -> None:
    """F of a batch is not F of its rows one by one."""
    together = case.operator(case.x)
    alone = torch.cat([case.operator(row[None]) for row in case.x])
    require_close(together, alone, "F(x) in a batch and alone")


@CHECKS.add()
def arguments_kept(case: OperatorCase) -> None:
    """The operator writes into its argument."""
    x = case.x.clone()
    case.operator(x)
    require_equal(x, case.x, "The models after F(x)")


@CHECKS.add()
def global_random_state(case: OperatorCase) -> None:
    """F(x) depends on a global random generator or uses one."""
    first, second = twice_under_global_seeds(lambda: case.operator(case.x))
    require_equal(first, second, "F(x) under two global seeds")


@CHECKS.add()
def dtype_kept(case: OperatorCase) -> None:
    """Precision changes on the way: float32 models must give float32 or complex64 data."""
    for dtype in (torch.float32, torch.float64):
        y = case.operator(case.x.to(dtype))
        expected = dtype.to_complex() if case.operator.is_complex else dtype
        require(y.dtype == expected, f"{dtype} models give {y.dtype}, expected {expected}.")


@CHECKS.add()
def complex_tag(case: OperatorCase) -> None:
    """The tag `complex` (or `is_complex`) does not say whether data are complex."""
    found, declared = case.operator(case.x).is_complex(), case.operator.is_complex
    require(found == declared, f"Data are complex: {found}, declared: {declared}.")


@CHECKS.add()
def device(case: OperatorCase) -> None:
    """Models on an accelerator do not give the same data there."""
    if not torch.cuda.is_available():
        raise NotApplicable("no accelerator here")
    y = case.operator(case.x.cuda())
    require(y.is_cuda, f"Models on cuda give data on {y.device}.")
    require_close(y.cpu(), case.operator(case.x), "F(x) on cuda and on the CPU", SOLVES)


@CHECKS.add(tag="linear")
def superposition(case: OperatorCase) -> None:
    """The tag `linear` is false: F(a u + b v) - F(0) is not a (F(u) - F(0)) + b (F(v) - F(0))."""
    f, u, v = case.operator, case.x[:1], case.x[1:2]
    zero = f(torch.zeros_like(u))
    combined = f(0.7 * u - 1.3 * v) - zero
    expected = 0.7 * (f(u) - zero) - 1.3 * (f(v) - zero)
    require_close(combined, expected, "F(0.7 u - 1.3 v)", SOLVES)


@CHECKS.add()
def projection(case: OperatorCase) -> None:
    """`project` of F(x) is not x: the coefficients of an example are others than its own."""
    operator = having(case.operator, HasProjection)
    require_close(operator.project(case.operator(case.x)), case.x, "P(F(x)) and x", SOLVES)
