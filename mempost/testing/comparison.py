"""Comparisons with derived tolerances: to rounding, and to Monte-Carlo error.

Rounding: two tensors agree to ``1e-12`` (float64) or ``1e-6`` (float32) of the largest number.

Monte-Carlo: a comparison fails by chance with probability below `FAMILY_WISE` over all numbers that
are compared, so that a correct plugin passes for every seed:

* distribution functions by the inequality of Dvoretzky, Kiefer & Wolfowitz with Massart's
  constant, P(sup |F_n - F| > e) <= 2 exp(-2 n e^2), which holds for every n and every F;
* means by the t quantile at that level, and by `STANDARD_ERRORS` standard errors at least, which
  leaves room for the tails of squares and products.

References: Massart 1990, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality".
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mempost.testing.check import CheckFailedError

FAMILY_WISE = 1e-6
STANDARD_ERRORS = 7.0

ROUNDING = {
    torch.float32: 1e-6,
    torch.complex64: 1e-6,
    torch.float64: 1e-12,
    torch.complex128: 1e-12,
}


def require(condition: bool, message: str) -> None:
    """Fail the check with a message unless the condition holds."""
    if not condition:
        raise CheckFailedError(message)


def require_close(
    found: Tensor,
    expected: Tensor,
    what: str,
    tolerance: float | None = None,
    scale: float | None = None,
) -> None:
    """Fail unless |found - expected| <= tolerance * scale everywhere.

    Args:
        found: what the plugin gave.
        expected: what it should have given.
        what: names both for the message.
        tolerance: relative to ``scale``; by default rounding of the dtype of ``found``.
        scale: by default the largest absolute value of either tensor.
    """
    require(
        found.shape == expected.shape,
        f"{what}: found shape {tuple(found.shape)}, expected {tuple(expected.shape)}.",
    )
    found, expected = found.detach(), expected.detach()
    require(bool(torch.isfinite(found).all()), f"{what}: found non-finite numbers.")
    if found.numel() == 0:
        return
    tolerance = ROUNDING[found.dtype] if tolerance is None else tolerance
    if scale is None:
        scale = max(float(found.abs().max()), float(expected.abs().max()))
    worst = float((found - expected).abs().max())
    require(
        worst <= tolerance * scale,
        f"{what}: the largest difference is {worst:.3g}, allowed is {tolerance * scale:.3g}.",
    )


def require_equal(found: Tensor, expected: Tensor, what: str) -> None:
    """Fail unless two tensors are equal bit for bit (dtype and shape included)."""
    same = found.dtype == expected.dtype and found.shape == expected.shape
    if not same or not torch.equal(found, expected):
        detail = "shapes or dtypes differ"
        if same:
            detail = f"the largest difference is {float((found - expected).abs().max()):.3g}"
        raise CheckFailedError(f"{what}: not equal bit for bit, {detail}.")


def require_distribution(
    probabilities: Float[Tensor, "n k"], what: str, comparisons: int | None = None
) -> None:
    """Fail unless every column of F(x_i) is uniform on [0, 1] (Dvoretzky-Kiefer-Wolfowitz).

    Args:
        probabilities: distribution function of the k-th projection at n independent draws.
        what: names the distribution for the message.
        comparisons: number of comparisons that share the level; by default k.
    """
    n, k = probabilities.shape
    ordered = probabilities.double().sort(0).values
    steps = torch.arange(n + 1, dtype=torch.float64, device=ordered.device)[:, None] / n
    distance = torch.maximum(ordered - steps[:-1], steps[1:] - ordered).amax(0)
    allowed = math.sqrt(math.log(2 * (comparisons or k) / FAMILY_WISE) / (2 * n))
    worst = int(distance.argmax())
    require(
        float(distance[worst]) <= allowed,
        f"{what}: the distribution function along direction {worst} is off by "
        f"{float(distance[worst]):.3f}, allowed is {allowed:.3f} for {n} draws.",
    )


def require_means(
    values: Float[Tensor, "n k"],
    expected: Float[Tensor, " k"],
    names: list[str],
    what: str,
    smallest_error: Float[Tensor, " k"] | None = None,
) -> None:
    """Fail unless the means of n independent rows agree with expected values.

    Args:
        values: independent rows, such as averages over chains.
        expected: the exact means.
        names: one for each of the k quantities.
        what: names the distribution for the message.
        smallest_error: standard errors are at least these.
    """
    from scipy.special import stdtrit

    n, k = values.shape
    values, expected = values.double(), expected.double()
    error = values.std(0) / math.sqrt(n)
    if smallest_error is not None:
        error = torch.maximum(error, smallest_error.double())
    allowed = max(STANDARD_ERRORS, float(-stdtrit(n - 1, FAMILY_WISE / (2 * k))))
    difference = (values.mean(0) - expected).abs()
    excess = difference - allowed * error
    worst = int(excess.argmax())
    rounding = 1e-9 * max(1.0, float(expected.abs().max()))
    require(
        float(excess[worst]) <= rounding,
        f"{what}: the {names[worst]} is {float(values.mean(0)[worst]):.4g}, exact is "
        f"{float(expected[worst]):.4g}; {float(difference[worst] / error[worst]):.1f} standard "
        f"errors apart, allowed are {allowed:.1f}.",
    )
