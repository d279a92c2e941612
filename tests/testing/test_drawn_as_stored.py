"""Figures draw the numbers that are stored: other numbers in store are those that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from mempost.core.figure import ready_matplotlib
from mempost.core.registry import REGISTRIES
from mempost.testing.artists import drawn_numbers
from mempost.testing.checks.figures import FigureCase
from mempost.testing.examples import example_plugin
from mempost.testing.measurements import altered, with_measured

AS_THEY_ARE = {
    "collapse_curves": {"atom_distance", "best_mass", "effective_number", "separation_bandwidth"},
    "coverage_curves": {"coverage_curve", "tarp_band", "tarp_curve"},
    "effective_modes": {"effective_modes"},
    "error_against_steps": {"sliced_wasserstein_null_high"},
    "fwi_panels": {
        "coefficient_calibration_error",
        "coefficient_calibration_std",
        "misfit_trace",
        "misfit_trace_mean",
        "pixel_calibration_error",
        "pixel_calibration_std",
        "velocity_error",
        "velocity_mean",
        "velocity_std",
    },
    "lens_curves": {"lens_mean", "lens_mean_exact", "spread", "spread_exact", "w1", "w1_null"},
    "lens_page": {"lens_mean", "lens_mean_exact", "spread", "spread_exact", "w1", "w1_null"},
    "memorization_bars": {
        f"nn_{which}rate{of}"
        for which in ("", "third_")
        for of in ("", "_held_out", "_leave_one_out")
    },
    "nearest_images": {"mean", "std"},
    "ratio_distributions": {
        "nn_ratio",
        "nn_ratio_held_out",
        "nn_ratio_leave_one_out",
        "nn_threshold",
    },
    "trace": {"autocorrelation"},
}
"""Variables whose numbers stand in the picture as they are; the others are differences, places of
examples, parts of a text (`measurements_drawn` of the public checks alters these)."""


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_what_is_drawn_is_what_is_stored(name):
    ready_matplotlib()
    case = FigureCase(example_plugin(REGISTRIES["figure"].get(name)))
    other = []
    for result in case.drawn[0]:
        measured = result.measured
        for variable in AS_THEY_ARE[name]:
            measured = altered(measured, variable)
        other.append(with_measured(result, measured))
    pictures = list(case.plugin.draw(other))
    before, after = (
        np.unique(np.concatenate([n.ravel() for p in drawn for n in drawn_numbers(p.canvas)]))
        for drawn in (case.drawn[1], pictures)
    )
    for variable in AS_THEY_ARE[name]:
        for results, drawn in ((case.drawn[0], before), (other, after)):
            stored = [
                np.ravel(r.measured[variable].values) for r in results if variable in r.measured
            ]
            numbers = np.concatenate(stored).astype(float)
            assert len(numbers) > 0
            numbers = numbers[np.isfinite(numbers)]
            above = drawn[np.searchsorted(drawn[:-1], numbers)]  # bars are drawn as lengths:
            below = drawn[np.searchsorted(drawn[1:], numbers)]  # equal to rounding
            apart = np.minimum(abs(above - numbers), abs(below - numbers))
            assert (apart <= 1e-12 * (1 + abs(numbers))).all(), variable


def test_figures_that_measure_nothing_are_known():
    """Others show the problem, the data, closed forms or draws, or say numbers in words."""
    others = {
        *("acquisition", "sensitivity", "shot_data", "wavefields", "training_curves"),
        *("densities_1d", "densities_2d", "marginals", "mixture_means", "sampler_histograms"),
        *("fwi_memorized", "lens_heatmaps", "rank_ecdf"),
        *("trajectories", "path_distances", "path_weights", "limit_fractions", "score_norms"),
        "between_references",
    }
    assert set(REGISTRIES["figure"].names) == others | AS_THEY_ARE.keys()
