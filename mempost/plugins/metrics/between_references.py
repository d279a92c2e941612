"""Which of two reference laws draws are nearer to.

With sliced Wasserstein-1 distances d_1 and d_2 from the draws to exact draws of the references, and
D between these,

    position = d_1 / (d_1 + d_2)

is near 0 at the first reference, near 1 at the second, and 1/2 where both are as far, whether the
draws lie between them or away from both. The floor is the distance between two sets of exact draws
of the first: a reference itself stands at position floor/(floor + D), not at 0.

Where the laws are mixtures about training examples, masses and shapes of components both count, and
masses count more. So the same is measured within components, of the displacements x - x_n from the
nearest example x_n, in which masses play a part only as far as components differ in shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.capabilities import HasExamples, ask
from mempost.core.measured import Measured, Variable, bounds, interval
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.methods.drawing import style
from mempost.methods.geometry.pairwise import nearest_distances
from mempost.methods.statistics import bootstrap
from mempost.methods.statistics.distances import directions, sliced_wasserstein
from mempost.methods.statistics.thinning import thin


class BetweenReferences(Metric):
    """Sliced distances to two references, and which of them is nearer, with a bootstrap interval.

    Columns ``to_first``, ``to_second``, ``between`` (the distance of the references),
    ``between_floor``, and ``position`` with its interval over draws of the sampler; and the same
    with ``_within`` for displacements from the nearest training example, where the prior keeps
    examples. In raw coordinates, so that samplers under other priors can be compared.
    """

    first: str = Field("prior_first", description="key of a sampler", examples=["exact"])
    second: str = Field("score_first", description="key of another one", examples=["dps"])
    draws: int = Field(500, ge=2, description="draws compared at most, evenly thinned")
    directions: int = Field(64, ge=1, description="of the sliced distance")
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(200, ge=10, examples=[20])

    def needs(self, samplers: Sequence[str]) -> tuple[str, ...]:
        return (self.first, self.second)

    def evaluate(self, result: Result) -> Measured:
        if result.samples.truths is not None:
            return Measured()
        samples = thin(result.samples, self.draws)
        n = len(samples)
        x = result.problem.prior.coordinates.to_raw(samples.flat).double()
        first, again = self._exact(result, self.first, 2 * n).split(n)
        sets = x, first, self._exact(result, self.second, n), again
        found = self._measure("", sets, samples, result)
        kept = ask(result.problem.prior, HasExamples)
        if kept is not None:
            points = result.problem.prior.coordinates.to_raw(kept.examples.x).double()
            moved = [z - points[nearest_distances(z, points, 1)[1][:, 0]] for z in sets]
            found |= self._measure("_within", moved, samples, result)
        return Measured(found)

    def _measure(
        self, suffix: str, sets: Sequence[Tensor], samples: Samples, result: Result
    ) -> dict[str, Variable]:
        """Distances of draws, both references and more of the first, and the position."""
        x, first, second, again = sets
        chains, per_chain = samples.values.shape[:2]
        stream = result.streams.at(tile=0, step=bootstrap.STEP)
        along = directions(x.shape[1], self.directions, stream).to(x)
        counts = bootstrap.resampling_counts(chains, per_chain, self.resamples, stream).to(x)
        one = x.new_full((1, len(x)), 1 / len(x))
        weights = torch.cat([one, counts / len(x)])

        def distance(a: Tensor, w: Tensor, b: Tensor) -> Float[Tensor, " replicates"]:
            both = torch.cat([w, -one.expand(len(w), -1)], 1)
            return sliced_wasserstein(torch.cat([a, b]), both, along)

        to_first, to_second = (distance(x, weights, exact) for exact in (first, second))
        position = to_first / (to_first + to_second)
        tail = (1 - self.confidence) / 2
        moved = position[1:] - position[1:].mean()  # resamples are farther from both than draws
        low, high = position[0] + torch.quantile(moved, moved.new_tensor([tail, 1 - tail]))
        return {
            f"to_first{suffix}": to_first[0],
            f"to_second{suffix}": to_second[0],
            f"between{suffix}": distance(first, one, second)[0],
            f"between_floor{suffix}": distance(first, one, again)[0],
            f"position{suffix}": interval(position[0], low, high),
        }

    def _exact(self, result: Result, key: str, n: int) -> Float[Tensor, "n d"]:
        """Draws of a reference, fresh ones where its posterior is known."""
        reference = result.sibling(key)
        if reference.posterior is not None:
            x = reference.posterior.sample(n, result.streams)
        else:
            drawn = reference.samples.flat
            x = drawn[torch.arange(n, device=drawn.device) % len(drawn)]
        return reference.problem.prior.coordinates.to_raw(x).double()

    def verdict(self, results: Sequence[Result]) -> list[str]:
        return [
            self._sentence(result)
            for result in results
            if "position" in result.measured and result.key not in (self.first, self.second)
        ]

    def _sentence(self, result: Result) -> str:
        found = result.measured
        name = "position_within" if "position_within" in found else "position"
        where = ", within components," if name != "position" else ""
        suffix = name.removeprefix("position")
        if float(found[f"between{suffix}"]) < 2 * float(found[f"between_floor{suffix}"]):
            return f"{style.named(result)}: the references cannot be told apart."
        _, low, high = bounds(found[name])
        nearer = self.first if high < 0.5 else self.second if low > 0.5 else "neither reference"
        place = style.in_words(found[name])
        return f"{style.named(result)} is{where} nearer to {nearer}: position {place}."
