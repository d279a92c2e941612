"""Classifier two-sample test: can a classifier tell a sampler's draws from exact ones?

With equal numbers of both, the accuracy on draws it was not trained on is at most

    1/2 + TV(p, q)/2,        Phi(Delta/2) for two unit normals whose means are Delta apart,

and 1/2 if the two are the same, whatever the classifier. It is given x, and beside it the
coordinates of the nearest mode (see `local_coordinates`): standardised x alone does not show it
what happens inside narrow modes. Both sets are halved; each half is classified by what was trained
on the other, and the accuracy is the mean of both. On one half, z = 2 (accuracy - 1/2) sqrt(number)
is standard normal at most if the sets are the same; the two z may depend on one another, so that
their mean is taken, whose variance is at most 1.

Reference: Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests".
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.errors import PluginError
from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.core.streams import Stream
from mempost.methods.bibliography import LOPEZPAZ_2017_REVISITING
from mempost.methods.statistics import bootstrap, intervals
from mempost.methods.statistics.local_coordinates import local_coordinates
from mempost.methods.statistics.thinning import thin, thin_rows

_Z_90 = 1.6449
STREAM = 5
"""Tile of the metric streams of step `bootstrap.STEP`: order of the draws, start of the network."""


class ClassifierTwoSampleTest(Metric):
    """Accuracy of a classifier that tells a sampler's draws from exact ones; 1/2 if it cannot.

    Columns ``c2st`` with its 95 % interval ``_low``, ``_high``, ``c2st_null_high`` (where 95 %
    of exact draws stay below) and ``c2st_p``; nothing in calibration runs, nor with fewer than four
    draws. ``network`` has two hidden layers and sees any difference; ``quadratic`` is logistic in
    all products of two coordinates of a kind, optimal between normals, and takes a hundredth of the
    time. Draws should be independent: those of a Markov chain resemble one another, and are told
    apart too often. Needs ``pip install mempost[c2st]``.
    """

    publications = (LOPEZPAZ_2017_REVISITING,)

    reference: str = "exact"
    draws: int = Field(1000, ge=20, description="draws of each kind at most, evenly thinned")
    classifier: Literal["network", "quadratic"] = Field("network", examples=["quadratic"])

    def evaluate(self, result: Result) -> Measured:
        if result.samples.truths is not None:
            return Measured()
        x = result.problem.prior.coordinates.to_raw(thin(result.samples, self.draws).flat)
        y = self._exact_draws(result, len(x))
        if y is None:
            return Measured()
        if min(len(x), len(y)) < 4:
            return Measured()
        d = x.shape[1]
        x, y = self._features(result, x, y)
        stream = result.streams.at(tile=STREAM, step=bootstrap.STEP)
        return Measured(self.compared(x, y, d, stream))

    def compared(
        self, x: Float[Tensor, "n k"], y: Float[Tensor, "m k"], d: int, stream: Stream
    ) -> dict[str, Variable]:
        """Accuracy, its interval, line and p-value, for two sets of draws with d coordinates.

        What stands beyond the first d are features of the draws.
        """
        n = min(len(x), len(y)) // 2
        x, y = (z.cpu()[stream.permutation(len(z))] for z in (x, y))
        halves = [_labelled(x[:n], y[:n]), _labelled(x[n : 2 * n], y[n : 2 * n])]
        seed = int(stream.integers(2**31, (1,)))
        accuracies = [
            float((self._trained(*a, d, seed).predict(b[0]) == b[1]).mean())
            for a, b in (halves, halves[::-1])
        ]
        accuracy = sum(accuracies) / 2
        z = 2 * (accuracy - 0.5) * math.sqrt(2 * n)
        return {
            "c2st": intervals.rate_of(accuracy, 2 * n, 0.95).variable,
            "c2st_null_high": min(1.0, 0.5 + _Z_90 / (2 * math.sqrt(2 * n))),
            "c2st_p": 0.5 * math.erfc(z / math.sqrt(2)),
        }

    def _exact_draws(self, result: Result, n: int) -> Tensor | None:
        """At most n exact draws in raw coordinates; None where they are the result's own."""
        reference = result.sibling(self.reference)
        to_raw = reference.problem.prior.coordinates.to_raw
        if reference.posterior is not None:
            return to_raw(reference.posterior.sample(n, result.streams))
        if result.key == self.reference:
            return None
        return to_raw(thin_rows(reference.samples.flat, n))

    def _features(self, result: Result, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What the classifier sees of draws x and exact ones y, both in raw coordinates."""
        reference = result.sibling(self.reference)
        from_raw = reference.problem.prior.coordinates.from_raw
        local = local_coordinates(reference.posterior, from_raw(y))
        if local is None:
            return x.double(), y.double()
        a, b = (torch.cat([z.double(), local(from_raw(z))], 1) for z in (x, y))
        return a, b

    def _trained(self, x: np.ndarray, labels: np.ndarray, d: int, seed: int) -> Any:
        """The classifier, fitted to standardised points, of which d coordinates are those of x."""
        try:
            from sklearn.compose import make_column_transformer
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.linear_model import LogisticRegression
            from sklearn.neural_network import MLPClassifier
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import PolynomialFeatures, StandardScaler
        except ImportError:
            raise PluginError("c2st needs scikit-learn: pip install mempost[c2st]") from None
        if self.classifier == "quadratic":
            products = PolynomialFeatures(2, include_bias=False)
            kinds = [s for s in (slice(0, d), slice(d, x.shape[1])) if s.start < s.stop]
            each = make_column_transformer(*((products, kind) for kind in kinds))
            steps = [each, LogisticRegression(max_iter=1000)]
        else:
            width = min(10 * x.shape[1] + 10, 200)
            steps = [MLPClassifier((width, width), max_iter=300, random_state=seed)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return make_pipeline(StandardScaler(), *steps).fit(x, labels)


def _labelled(x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate([x.numpy(), y.numpy()])
    return points, np.repeat([0, 1], [len(x), len(y)])
