"""What a learned prior adds to the error, and what the sampler does: signed parts that telescope.

Run the same sampler with the same random numbers twice, with the learned score (L) and with the
exact one (C, its counterpart), and compare with the exact posterior (E). For the mean Q of a scalar
over draws,

    Q(L) - Q(E)  =  [Q(L) - Q(C)]  +  [Q(C) - Q(E)]
       total           prior             sampler

to the last bit that addition keeps. Draw i of L and draw i of C start from the same noise, so they
are compared in pairs: what both have in common cancels in the prior's part. Distances
have no sign, and telescope as a bound only,

    d(L, E)  <=  d(L, C) + d(C, E),

with d the sliced Wasserstein-1 distance over one set of directions, in raw coordinates, between the
same draws that the scalars use. Samplers that start from the prior (``start: marginal``) share no
random numbers across priors: take ``noise`` or ``standard_normal``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.measured import BOUND, Array, Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.core.streams import Stream
from mempost.methods.geometry.distinct import Distinct
from mempost.methods.geometry.pairwise import nearest_distances
from mempost.methods.statistics import bootstrap, distances, intervals
from mempost.methods.statistics.intervals import Interval
from mempost.methods.statistics.per_draw import chi_squared, velocity_rmse
from mempost.methods.statistics.thinning import thin_rows
from mempost.methods.waves.models import WaveModels
from mempost.plugins.metrics.nearest_neighbour import NearestNeighbour

Quantity = Literal["misfit", "memorized", "velocity_rmse"]

PARTS: Mapping[str, tuple[int, int]] = {"total": (0, 2), "prior": (0, 1), "sampler": (1, 2)}
"""Of learned, counterpart and exact, the two that a part compares."""
EXACT = 2
UNITS: Mapping[str, str] = {"misfit": "", "memorized": "", "velocity_rmse": " km/s"}


def _pairs_of_keys(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


Counterparts = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_pairs_of_keys, json_schema_input_type=dict[str, str]),
]
"""A mapping from keys to keys, kept as pairs so that the recipe can be hashed."""


class ErrorDecomposition(Metric):
    """Error of a learned prior's sampler, split into the prior's part and the sampler's.

    For every sampler in ``counterparts`` and every quantity Q, columns ``Q_error_total``,
    ``Q_error_prior`` and ``Q_error_sampler``, each with ``_low`` and ``_high``; and the
    distances ``distance_total``, ``distance_prior``, ``distance_sampler`` with
    ``distance_bound``, the sum of the last two. Quantities are those of `per_draw`: ``misfit``
    (squared, per real datum), ``memorized`` (rate at r < threshold in raw coordinates) and
    ``velocity_rmse`` (km/s); those that a problem does not have are left out.
    """

    counterparts: Counterparts = Field(
        min_length=1,
        description="the sampler with the learned prior: the same with the exact score",
        examples=[{"learned": "empirical"}],
    )
    reference: str = Field("exact", description="the exact posterior")
    quantities: tuple[Quantity, ...] = ("misfit", "memorized", "velocity_rmse")
    draws: int = Field(64, ge=2, description="pairs of draws at most, from the first")
    k: int = Field(50, ge=2, description="neighbours in the ratio, at most N")
    threshold: float = Field(0.7, gt=0, description="memorized if the ratio is below")
    directions: int = Field(64, ge=1, description="of the sliced distance")
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(1000, ge=10, examples=[20])

    def needs(self, samplers: Sequence[str]) -> tuple[str, ...]:
        """The exact posterior, and both samplers of every pair."""
        return (self.reference, *(key for pair in self.counterparts for key in pair))

    def evaluate(self, result: Result) -> Measured:
        counterparts = dict(self.counterparts)
        if result.key not in counterparts or result.samples.truths is not None:
            return Measured()
        counterpart = result.sibling(counterparts[result.key])
        learned, paired = _pairs(result, counterpart, self.draws)
        exact = result.sibling(self.reference)
        drawn = thin_rows(exact.samples.flat, self.draws)
        triple = (result, learned), (counterpart, paired), (exact, drawn)
        variables: dict[str, Variable] = {}
        for quantity in self.quantities:
            found = [self._values(quantity, where, x) for where, x in triple]
            values = [v for v in found if v is not None]
            if len(values) == len(triple):
                stream = result.streams.at(tile=0, step=bootstrap.STEP)
                parts = self._telescope(values, quantity == "memorized", stream)
                variables[f"{quantity}_error"] = (("part", BOUND), parts)
        raw = [where.problem.prior.coordinates.to_raw(x).double() for where, x in triple]
        apart = self._distances(raw, result.streams.at(tile=1, step=bootstrap.STEP))
        variables |= {"distance": ("part", apart), "distance_bound": apart[1] + apart[2]}
        return Measured(variables, {"part": list(PARTS)})

    def _values(
        self, quantity: Quantity, result: Result, x: Float[Tensor, "n d"]
    ) -> Float[Tensor, " n"] | None:
        """The quantity of every draw, or None where the problem does not have it."""
        if quantity == "misfit":
            return None if result.problem.question is None else chi_squared(result.problem, x)
        if quantity == "velocity_rmse":
            models = WaveModels.of(result.problem)
            if models is None or result.truth is None:
                return None
            return velocity_rmse(models, x, result.truth)
        if result.data is None:
            return None
        to_raw = result.problem.prior.coordinates.to_raw
        train = to_raw(result.data.train.flatten(1))
        train = train[Distinct.of(train).first]
        if len(train) < 2:
            return None
        found, _ = nearest_distances(to_raw(x), train, min(self.k, len(train)))
        rule = NearestNeighbour(k=self.k, threshold=self.threshold)
        return rule.measure(found)["rate"].double().cpu()

    def _telescope(
        self, values: Sequence[Float[Tensor, " n"]], is_rate: bool, stream: Stream
    ) -> list[Interval]:
        """Parts of the error of a mean, each with its interval."""
        parts = []
        for i, j in PARTS.values():
            a, b, paired = values[i], values[j], EXACT not in (i, j)
            if is_rate:
                p, q = (intervals.rate(x[None], self.confidence) for x in (a, b))
                correlation = _correlation(a, b) if paired else 0.0
                parts.append(intervals.rate_difference(p, q, correlation))
            elif paired:
                differences = (a - b)[None]
                parts.append(intervals.mean(differences, self.confidence, self.resamples, stream))
            else:
                parts.append(intervals.difference(a, b, self.confidence, self.resamples, stream))
        return parts

    def _distances(self, draws: Sequence[Float[Tensor, "n d"]], stream: Stream) -> list[float]:
        """Distances between draws of learned, counterpart and exact, by part."""
        dimension, device = draws[0].shape[1], draws[0].device
        along = distances.directions(dimension, self.directions, stream).to(device)

        def between(a: Tensor, b: Tensor) -> float:
            w = torch.cat([a.new_full((len(a),), 1 / len(a)), b.new_full((len(b),), -1 / len(b))])
            return float(distances.sliced_wasserstein(torch.cat([a, b]), w[None], along)[0])

        return [between(draws[i], draws[j]) for i, j in PARTS.values()]

    def verdict(self, results: Sequence[Result]) -> list[str]:
        said = []
        for result in results:
            parts = [
                _sentence(quantity, result.measured[f"{quantity}_error"])
                for quantity in self.quantities
                if f"{quantity}_error" in result.measured
            ]
            if parts:
                where = ", ".join(f"{p.rpartition('.')[2]} = {v}" for p, v in result.point.items())
                said.append(f"{where + ': ' if where else ''}{result.key}: {'; '.join(parts)}.")
        return said


def _correlation(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Of paired numbers; 0 where one of them does not vary."""
    x, y = a - a.mean(), b - b.mean()
    scale = float(x.norm() * y.norm())
    return float(x @ y) / scale if scale > 0 else 0.0


def _sentence(quantity: str, errors: Array) -> str:
    total, prior, sampler = (float(errors.sel(part=part, bound="value")) for part in PARTS)
    unit = UNITS[quantity]
    return (
        f"{quantity.replace('_', ' ')} off by {total:+.3g}{unit} from the exact posterior's, "
        f"{prior:+.3g} by the prior and {sampler:+.3g} by the sampler"
    )


def _pairs(
    learned: Result, counterpart: Result, most: int
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Draws of both that come from the same random numbers: as many as both have.

    Raises:
        PluginError: one of them is a set of Markov chains.
    """
    for result in (learned, counterpart):
        if len(result.samples.values) > 1:
            raise PluginError(
                f"error_decomposition pairs independent draws, and {result.key} has chains"
            )
    a, b = learned.samples.values[0], counterpart.samples.values[0]
    n = min(len(a), len(b), most)
    return a[:n], b[:n]
