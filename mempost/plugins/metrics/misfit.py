"""Misfit of draws: do the samples explain the data, and no better than the noise allows?

    chi^2 per datum = |r|^2 / m,    r = (y - F(x)) / noise,   m real data (complex ones count twice)

At the truth it is 1 +- sqrt(2/m), if the data were simulated by the operator itself; data from a
finer grid add what the grids differ by. Draws of a posterior that the data inform lie slightly
above; far above they do not explain the data, below 1 they explain the noise.
"""

from __future__ import annotations

from pydantic import Field

from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.statistics import bootstrap, intervals
from mempost.methods.statistics.moments import posterior_moments
from mempost.methods.statistics.per_draw import chi_squared
from mempost.methods.statistics.thinning import thin
from mempost.methods.statistics.traced_misfit import traced_misfit


class Misfit(Metric):
    """Squared misfit per real datum of draws, of their mean and of the truth, in noise units.

    Columns ``misfit`` (mean over draws, with ``_low`` and ``_high``), ``misfit_of_mean`` (of the
    posterior mean) and, if the truth is known, ``misfit_of_truth``. One evaluation of F a draw. Of
    samplers that save levels, ``misfit_trace`` is kept for pictures: that of the denoised state of
    the first ``particles`` after every step that is saved, and their mean ``misfit_trace_mean``.
    """

    needs_question = True

    draws: int = Field(64, ge=1, description="draws evaluated at most, evenly thinned")
    particles: int = Field(4, ge=1, description="whose misfit along the way is kept")
    confidence: float = Field(0.95, gt=0, lt=1)
    resamples: int = Field(1000, ge=10, examples=[20])

    def evaluate(self, result: Result) -> Measured:
        if result.samples.truths is not None:
            return Measured()
        problem, samples = result.problem, thin(result.samples, self.draws)
        values = chi_squared(problem, samples.flat)
        misfit = intervals.mean(
            values.reshape(samples.values.shape[:2]),
            self.confidence,
            self.resamples,
            result.streams.at(tile=0, step=bootstrap.STEP),
        )
        mean, _ = posterior_moments(result, "prior")
        found: dict[str, Variable] = {
            "misfit": misfit.variable,
            "misfit_of_mean": chi_squared(problem, mean[None])[0],
        }
        if result.truth is not None:
            found["misfit_of_truth"] = chi_squared(problem, result.truth[None])[0]
        if (trace := traced_misfit(result, self.particles)) is None:
            return Measured(found)
        kept: dict[str, Variable] = {
            "misfit_trace": (("step", "particle"), trace.values),
            "misfit_trace_mean": ("step", trace.values.mean(1)),
        }
        return Measured(found | kept, {"step": trace.steps}, unlisted=kept)
