"""Example inputs of the checks: inverse problems for samplers, and plugins from their schema.

The example of a plugin class takes, field by field, the first of the field's ``examples``
(``Field(examples=[...])``, which also stand in the JSON schema), else the default. So an author
says in one place what a required field may look like, and how few steps are enough for a check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import ValidationError

from mempost.core.arrays import FrozenArray
from mempost.core.errors import SpecError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.plugin import Plugin
from mempost.core.prior import FittedPrior, Prior
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.testing.reference import CubicOperator, DenseMixture, MatrixOperator

_DOUBLE = torch.float64


def example_plugin(cls: type[Plugin], hyper: Mapping[str, Any] | None = None) -> Plugin:
    """An instance of a plugin class, from given hyper-parameters, field examples and defaults.

    Raises:
        SpecError: a required field has neither a value nor an example, or a value is wrong.
    """
    values = dict(hyper or {})
    for name, field in cls.model_fields.items():
        key = field.alias or name
        if key in values:
            continue
        if field.examples:
            values[key] = field.examples[0]
        elif field.is_required():
            raise SpecError(
                f"{cls.__name__}.{key} is required and shows no example: give a value, or "
                f"Field(examples=[...]) in the class"
            )
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (cls.__name__, *first["loc"])))
        raise SpecError(f"{place}: {first['msg']}") from error


def _mixture() -> DenseMixture:
    """Three overlapping components with covariances of different size and direction."""
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=_DOUBLE)
    means = torch.tensor([[-0.9, 0.2], [0.7, 0.9], [0.4, -0.8]], dtype=_DOUBLE)
    factors = torch.tensor(
        [[[0.5, 0.0], [0.2, 0.6]], [[1.0, 0.0], [-0.4, 0.7]], [[0.4, 0.0], [0.1, 0.3]]],
        dtype=_DOUBLE,
    )
    return DenseMixture(weights, means, factors)


def _separated_mixture() -> DenseMixture:
    """Three components several standard deviations apart."""
    prior = _mixture()
    return DenseMixture(prior.weights, 4 * prior.means, 0.5 * prior.factors)


def _gaussian() -> DenseMixture:
    prior = _mixture()
    return DenseMixture(prior.weights[:1] * 0 + 1, prior.means[:1], prior.factors[1:2])


def _atoms() -> DenseMixture:
    prior = _mixture()
    return DenseMixture(prior.weights, prior.means, torch.zeros_like(prior.factors))


def _matrix(rows: list[list[float]] | list[list[complex]]) -> MatrixOperator:
    return MatrixOperator(matrix=FrozenArray(rows))


def _problem(
    prior: FittedPrior, matrix: MatrixOperator, y: list[float] | list[complex], std: float
) -> InverseProblem:
    complex_data = matrix.is_complex
    data = torch.tensor(y, dtype=torch.complex128 if complex_data else _DOUBLE)
    return InverseProblem(prior, matrix, GaussianNoise(std, complex_data), data)


def mixture_problem() -> InverseProblem:
    """A mixture in the plane and one datum; the likelihood leaves all components alive."""
    return _problem(_mixture(), _matrix([[1.0, 0.5]]), [0.3], 0.4)


def gaussian_problem() -> InverseProblem:
    """A Gaussian in the plane and two data."""
    return _problem(_gaussian(), _matrix([[1.0, 0.5], [0.3, -0.8]]), [0.4, 0.5], 0.5)


def complex_problem() -> InverseProblem:
    """A mixture in the plane and one complex datum."""
    return _problem(_mixture(), _matrix([[1.0 + 0.4j, 0.3 - 0.7j]]), [0.3 + 0.2j], 0.8)


def separated_problem() -> InverseProblem:
    """A mixture whose components a local method does not travel between."""
    return _problem(_separated_mixture(), _matrix([[1.0, 0.5]]), [0.5], 3.0)


def atomic_problem() -> InverseProblem:
    """Three atoms and one datum."""
    return _problem(_atoms(), _matrix([[1.0, 0.5]]), [0.3], 0.8)


def nonlinear_problem() -> InverseProblem:
    """A mixture in the plane seen by an elementwise cubic."""
    y = torch.tensor([0.3, 0.1], dtype=_DOUBLE)
    return InverseProblem(_mixture(), CubicOperator(), GaussianNoise(0.5), y)


def _trained(name: str, hyper: Mapping[str, Any]) -> InverseProblem:
    """A prior of five training examples in the plane, and one datum."""
    points = [[-1.2, 0.3], [-0.4, -0.9], [0.5, 0.8], [1.1, -0.2], [0.1, 0.1]]
    prior = example_plugin(REGISTRIES["prior"].get(name), hyper)
    assert isinstance(prior, Prior)
    fitted = prior.fit(torch.tensor(points, dtype=_DOUBLE))
    return _problem(fitted, _matrix([[1.0, 0.5]]), [0.3], 0.6)


def memorized_problem(bandwidth: float = 0.4) -> InverseProblem:
    """Training examples in the plane as kernel centres, or as atoms, and one datum."""
    return _trained("empirical_gmm", {"bandwidth": bandwidth})


def regularised_problem() -> InverseProblem:
    """Atoms in the plane, their score regularised by Tikhonov, and one datum."""
    return _trained("tikhonov", {"c": 0.05})


PROBLEMS: dict[str, Callable[[], InverseProblem]] = {
    "mixture": mixture_problem,
    "gaussian": gaussian_problem,
    "complex": complex_problem,
    "atoms": atomic_problem,
    "separated mixture": separated_problem,
}
"""Linear problems with exact posteriors, the most general first."""

FALLBACKS: dict[str, Callable[[], InverseProblem]] = {
    "memorized": memorized_problem,
    "memorized atoms": lambda: memorized_problem(0.0),
}
"""Problems for samplers that ask for the prior of a training set, and refuse the others."""

REGULARISED: dict[str, Callable[[], InverseProblem]] = {"regularised": regularised_problem}
"""Problems for methods that ask for a prior over another one, and refuse all others."""
