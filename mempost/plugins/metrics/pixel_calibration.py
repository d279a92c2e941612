"""Spread against error in pixels and in coefficients (see `calibration_curve`)."""

from __future__ import annotations

from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.plugins.metrics import calibration_curve


class PixelCalibration(Metric):
    """Whether the spread of velocity, and of coefficients, is as large as the error of the mean.

    Columns ``pixel_calibration_ratio`` (rms error over rms std, 1 if calibrated, above it
    overconfident) and ``pixel_calibration_slope`` of error against std over the nodes of the
    velocity, if there is one; the same over coefficients as ``coefficient_calibration_ratio`` and
    ``_slope``. Left out without spread or truth. One truth says nothing about coverage.
    """

    def evaluate(self, result: Result) -> Measured:
        places = {
            "pixel": calibration_curve.of_velocity(result),
            "coefficient": calibration_curve.of_coefficients(result),
        }
        measured: dict[str, float] = {}
        for name, found in places.items():
            if found is not None and found.has_spread:
                measured[f"{name}_calibration_ratio"] = found.ratio
                measured[f"{name}_calibration_slope"] = found.slope
        return Measured(measured)
