"""Checks of what a fitted prior says that it gives: a density, training examples, a history.

Without noise the density is asked by chains and by quadrature, with its gradient: a formula that is
right at every s > 0 may give NaN there (a branch that divides by s, for one).
"""

from __future__ import annotations

import json

import torch

from mempost.core.autodiff import value_and_pullback
from mempost.core.capabilities import HasBandwidth, HasDensity, HasExamples, HasHistory, ask
from mempost.core.streams import Streams
from mempost.testing.check import having
from mempost.testing.checks.priors import CHECKS, PriorCase
from mempost.testing.comparison import require, require_close, require_equal


@CHECKS.add()
def density_tag(case: PriorCase) -> None:
    """The tag `log_density` does not say whether the fitted prior has a density (`HasDensity`)."""
    found, tagged = ask(case.fitted, HasDensity) is not None, "log_density" in case.tags
    require(found == tagged, f"The fitted prior has a density: {found}, the tag: {tagged}.")


@CHECKS.add()
def density_without_noise(case: PriorCase) -> None:
    """At s = 0 the log density or its gradient is not finite, or the gradient is another one."""
    density = having(case.fitted, HasDensity)
    x = case.fitted.sample(6, Streams(0, "sampling"))
    value, pullback = value_and_pullback(density.log_density, x)
    require(tuple(value.shape) == (len(x),), f"The log density has shape {tuple(value.shape)}.")
    require(bool(torch.isfinite(value).all()), "The log density is not finite at draws.")
    gradient = pullback(torch.ones_like(value))
    require(bool(torch.isfinite(gradient).all()), "Its gradient is not finite at draws.")
    direction = Streams(0, "metric").at().normal(tuple(x.shape))
    h = 1e-5 * case.scale
    up, down = (density.log_density(x + sign * h * direction) for sign in (1, -1))
    along, size = (gradient * direction).sum(-1), float((gradient * direction).abs().sum(-1).max())
    require_close((up - down) / (2 * h), along, "Central differences at s = 0", 1e-4, size)


@CHECKS.add()
def examples_kept(case: PriorCase) -> None:
    """Its `examples` are no training data, have no weights that sum to 1, or miss in its state."""
    x, weights = having(case.fitted, HasExamples).examples
    require(
        x.ndim == 2 and x.shape[1] == case.fitted.dimension and len(x) > 0,
        f"Examples have shape {tuple(x.shape)}, expected (N, {case.fitted.dimension}).",
    )
    require(tuple(weights.shape) == (len(x),), f"Weights have shape {tuple(weights.shape)}.")
    require(bool((weights >= 0).all()), "A weight is negative.")
    require_close(weights.sum(), torch.ones_like(weights.sum()), "Sum of the weights")
    if case.data is not None:
        given = case.fitted.coordinates.from_raw(case.data.flatten(1))
        distance = max(float((given - row).square().sum(1).min()) ** 0.5 for row in x)
        require(distance <= 1e-9 * case.scale, f"An example is {distance:.3g} from all data.")
    state = case.fitted.state()
    stored = type(state)(state.tensors, json.loads(json.dumps(state.values)))
    again = having(case.plugin.restore(stored), HasExamples).examples
    require_equal(again.x, x, "The examples of the stored prior")
    require_equal(again.weights, weights, "Their weights")
    single = having(case.fitted.to(dtype=torch.float32), HasExamples).examples
    require(single.x.dtype == torch.float32, f"In float32 the examples are {single.x.dtype}.")


@CHECKS.add()
def bandwidth_of_all(case: PriorCase) -> None:
    """A component has another covariance than h^2 I for the `bandwidth` h."""
    prior = having(case.fitted, HasBandwidth)
    index = torch.arange(len(prior.weights))
    variances = prior.component_variances(index)
    expected = torch.full_like(variances, prior.bandwidth**2)
    require_close(variances, expected, "Variances of the components", 1e-9)


@CHECKS.add()
def history_complete(case: PriorCase) -> None:
    """A curve of the training history misses, or is not as long as the others."""
    history = having(case.fitted, HasHistory).history
    steps, bins = len(history.curves.get("step", ())), len(history.edges) - 1
    expected = {"step": (steps,), "loss": (steps,), "learning_rate": (steps,)}
    for name, shape in {**expected, "level_error": (steps, bins)}.items():
        require(name in history.curves, f"There is no curve {name!r}.")
        found = tuple(history.curves[name].shape)
        require(found == shape, f"The curve {name!r} has shape {found}, expected {shape}.")
