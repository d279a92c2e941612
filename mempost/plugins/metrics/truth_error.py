"""Error against the truth that made the data, and whether the spread accounts for it.

With the posterior mean m, its standard deviation s and the truth x*, over d coordinates,

    rmse_mean = sqrt(mean_i (m_i - x*_i)^2)
    z_rms     = sqrt(mean_i ((m_i - x*_i) / s_i)^2)

z_rms is near 1 for a calibrated posterior whose coordinates are many and nearly independent; far
above 1 is overconfident. One truth tells little: repeat over many.
"""

from __future__ import annotations

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.geometry.coordinates import CoordinateSystem, in_coordinates
from mempost.methods.statistics.moments import posterior_moments


class TruthError(Metric):
    """Error of mean and samples against the truth, and in units of the posterior's spread.

    Columns ``rmse_mean`` (of the posterior mean), ``rmse_samples`` (mean over draws) and ``z_rms``
    (left out where a coordinate has no spread). Nothing if the truth is unknown.
    """

    coordinates: CoordinateSystem = "raw"

    def evaluate(self, result: Result) -> Measured:
        if result.truth is None:
            return Measured()
        truth = in_coordinates(result.truth[None], self.coordinates, result)[0]
        draws = in_coordinates(result.samples.flat, self.coordinates, result)
        mean, std = posterior_moments(result, self.coordinates)
        error = mean - truth
        found = {
            "rmse_mean": float(error.square().mean().sqrt()),
            "rmse_samples": float((draws - truth).square().mean(1).sqrt().mean()),
        }
        if std is not None and bool((std > 0).all()):
            found["z_rms"] = float((error / std).square().mean().sqrt())
        return Measured(found)
