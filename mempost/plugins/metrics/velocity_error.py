"""Velocity against the truth, in km/s, of draws and of the posterior mean.

    rmse(v) = sqrt(mean over nodes of (v - v*)^2)

Coefficients differ in scale by orders of magnitude and have no units; velocities are what a
geophysicist sees. With v_i = v* + e_i the mean of n draws errs by |sum_i e_i|/n, so that how far
resamples of it move needs the inner products of the e_i only.
"""

from __future__ import annotations

from pydantic import Field

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.statistics import bootstrap, intervals
from mempost.methods.statistics.calibration_curve import velocity_moments
from mempost.methods.waves.models import WaveModels


class VelocityError(Metric):
    """Root mean square error of velocity (km/s) of draws and of their mean, with intervals.

    Columns ``velocity_rmse_samples`` (mean over draws of the error of each), ``velocity_rmse_best``
    (the smallest) and ``velocity_rmse_mean`` (error of the mean velocity). Nothing for problems
    without waves or without a truth. For pictures the maps (x, z) of ``velocity_mean``,
    ``velocity_std`` and ``velocity_error``, |mean - truth|, are kept.
    """

    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(1000, ge=10, examples=[20])

    def evaluate(self, result: Result) -> Measured:
        models = WaveModels.of(result.problem)
        if models is None or result.truth is None:
            return Measured()
        true = models.velocity(result.truth[None])
        errors = (models.velocity(result.samples.flat) - true).double().flatten(1)
        products = (errors @ errors.T / errors.shape[1]).cpu()
        single = products.diagonal().clamp(min=0).sqrt()
        chains, draws = result.samples.values.shape[:2]
        stream = result.streams.at(tile=0, step=bootstrap.STEP)
        samples = intervals.mean(
            single.reshape(chains, draws),
            self.confidence,
            self.resamples,
            stream,
        )
        stream = result.streams.at(tile=1, step=bootstrap.STEP)
        counts = bootstrap.resampling_counts(chains, draws, self.resamples, stream)
        share = (counts - 1) / len(single)
        moved = ((share @ products) * share).sum(1).clamp(min=0).sqrt()
        value = float(products.mean().clamp(min=0).sqrt())
        of_mean = intervals.norm(value, moved, chains if chains > 1 else draws, self.confidence)
        mean, std = velocity_moments(models, result)
        maps = {
            "velocity_mean": (("x", "z"), mean),
            "velocity_std": (("x", "z"), std),
            "velocity_error": (("x", "z"), (mean - true[0].double()).abs()),
        }
        return Measured(
            {
                "velocity_rmse_samples": samples.variable,
                "velocity_rmse_best": single.min(),
                "velocity_rmse_mean": of_mean.variable,
                **maps,
            },
            unlisted=maps,
        )
