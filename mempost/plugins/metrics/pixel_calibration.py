"""Spread against error in pixels and in coefficients (see `calibration_curve`)."""

from __future__ import annotations

from pydantic import Field

from mempost.core.measured import Measured, Variable
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.statistics import calibration_curve


class PixelCalibration(Metric):
    """Whether the spread of velocity, and of coefficients, is as large as the error of the mean.

    Columns ``pixel_calibration_ratio`` (rms error over rms std, 1 if calibrated, above it
    overconfident) and ``pixel_calibration_slope`` of error against std over the nodes of the
    velocity, if there is one; the same over coefficients as ``coefficient_calibration_ratio`` and
    ``_slope``. Left out without spread or truth. One truth says nothing about coverage. For
    pictures the mean spread and error of bins are kept, as ``_std`` and ``_error``.
    """

    pixel_bins: int = Field(30, ge=1, description="of equal counts, for pictures")
    coefficient_bins: int = Field(10, ge=1, description="of equal counts, for pictures")

    def evaluate(self, result: Result) -> Measured:
        places = {
            "pixel": (calibration_curve.of_velocity(result), self.pixel_bins),
            "coefficient": (calibration_curve.of_coefficients(result), self.coefficient_bins),
        }
        measured: dict[str, Variable] = {}
        kept: dict[str, Variable] = {}
        for name, (found, bins) in places.items():
            if found is not None and found.has_spread:
                measured[f"{name}_calibration_ratio"] = found.ratio
                measured[f"{name}_calibration_slope"] = found.slope
                for quantity, values in zip(("std", "error"), found.curve(bins), strict=True):
                    kept[f"{name}_calibration_{quantity}"] = f"{name}_bin", values
        return Measured(measured | kept, unlisted=kept)
