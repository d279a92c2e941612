"""Figures of the study show the numbers they are asked for, in km and km/s."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fwi_problems import EXACT, SERIES, interpolations, normal, results_of, wave_problem
from metric_results import problem_of
from metric_results import results_of as plain_results

from mempost.core.errors import PluginError
from mempost.core.measured import bounds
from mempost.methods.statistics.per_draw import chi_squared
from mempost.methods.statistics.traced_misfit import traced_misfit
from mempost.plugins.figures.fwi_memorized import FWIMemorized
from mempost.plugins.figures.fwi_panels import FWIPanels
from mempost.plugins.figures.memorization_bars import MemorizationBars
from mempost.plugins.figures.ratio_distributions import RatioDistributions
from mempost.plugins.metrics.misfit import Misfit
from mempost.plugins.metrics.nearest_neighbour import NearestNeighbour
from mempost.plugins.metrics.pixel_calibration import PixelCalibration
from mempost.plugins.metrics.velocity_error import VelocityError
from mempost.plugins.samplers.reverse_diffusion import ReverseDiffusion
from mempost.plugins.schedules.vp_discrete import DiscreteVariancePreserving

TRACED = ReverseDiffusion(
    schedule=DiscreteVariancePreserving(steps=10),
    steps=10,
    t_min=0.1,
    save=(0.0, 0.8, 0.5),
    start="standard_normal",
)


@pytest.fixture(scope="module")
def study():
    """Two points of a sweep, N = 6 and 12, with the exact posterior, a sampler, and free draws."""
    results = []
    for n in (6, 12):
        problem, data, truth = wave_problem(n)
        answers = {"exact": EXACT, "traced": TRACED, "free": interpolations(data, 30)}
        found = results_of(problem, data, truth, answers, n=16, point={"data.dataset.n_train": n})
        results += found.values()
    for metric in (
        NearestNeighbour(k=5, threshold=0.6, resamples=10),
        VelocityError(resamples=10),
        Misfit(particles=2, resamples=10),
        PixelCalibration(pixel_bins=6, coefficient_bins=4),
    ):
        results = [measured_by(metric, result) for result in results]
    return results


def measured_by(metric, result):
    result.measured.update(metric.evaluate(result))
    return result


def images(canvas):
    return [np.asarray(ax.images[0].get_array()) for ax in canvas.axes if ax.images]


# -- misfit along the trace -----------------------------------------------------------------------


def test_traced_misfit_is_that_of_the_denoised_state(study):
    result = study[1]
    found = traced_misfit(result, 3)
    assert found.steps == [2, 5, 10] and found.values.shape == (3, 3)
    trace = result.samples.trajectory.z[0, :3]
    level = TRACED.schedule.level(0.5)
    x = result.problem.prior.denoise(trace[:, 2], level)
    assert torch.allclose(found.values[1], chi_squared(result.problem, x), rtol=1e-9)
    ends = chi_squared(result.problem, result.samples.flat[:3])
    assert torch.allclose(found.values[2], ends, rtol=1e-9)


def test_no_trace_no_misfit(study):
    assert traced_misfit(study[0], 3) is None
    assert traced_misfit(study[2], 3) is None


# -- panels ---------------------------------------------------------------------------------------


def test_panels_show_velocities_on_shared_scales(study):
    drawn = {p.stem: p.canvas for p in FWIPanels().draw(study)}
    assert list(drawn) == [
        f"fwi_panels_{key}_{i}" for i in (0, 1) for key in ("exact", "traced", "free")
    ]
    result, canvas = study[2], drawn["fwi_panels_free_0"]
    raw = result.problem.prior.coordinates.to_raw
    v, true = SERIES(raw(result.samples.flat)) ** -0.5, SERIES(raw(result.truth)[None])[0] ** -0.5
    expected = [true, v.mean(0), v.std(0), (v.mean(0) - true).abs()]
    for shown, field in zip(images(canvas), expected, strict=True):
        assert np.allclose(shown, field.T.numpy())
    assert canvas.axes[0].images[0].get_extent() == pytest.approx([0, 1.2, 1.0, 0])
    scales = {tuple(ax.images[0].get_clim()) for c in drawn.values() for ax in c.axes if ax.images}
    assert len(scales) == 2
    assert "$N$ = 6" in canvas.get_suptitle()


def test_panels_of_misfit_calibration_and_coefficients(study):
    drawn = {p.stem: p.canvas for p in FWIPanels().draw(study)}
    panels = {ax.get_title(): ax for ax in drawn["fwi_panels_traced_0"].axes}
    misfit = panels["misfit of the denoised state"]
    mean = traced_misfit(study[1], 2).values.mean(1).numpy()
    lines = {line.get_label(): line for line in misfit.lines}
    assert np.allclose(lines["mean of 2"].get_xydata(), np.column_stack([[2, 5, 10], mean]))
    nodes = panels["calibration: velocity"].lines[1].get_xydata()
    assert nodes.shape == (6, 2) and (np.diff(nodes[:, 0]) > 0).all()
    assert len(panels["calibration: coefficients"].lines[1].get_xydata()) == 4
    scatter = next(ax for ax in drawn["fwi_panels_traced_0"].axes if "z_{1}" in ax.get_xlabel())
    shown = {line.get_label(): line.get_xydata() for line in scatter.lines}
    raw = study[1].problem.prior.coordinates.to_raw
    assert np.allclose(shown["training"], raw(study[1].data.train)[:, :2])
    assert np.allclose(shown["truth"], raw(study[1].truth)[None, :2])
    assert len(shown["draws"]) == 16


def test_panels_without_spread_say_so(study):
    canvas = {p.stem: p.canvas for p in FWIPanels().draw(study[:1])}["fwi_panels_exact"]
    words = [text.get_text() for ax in canvas.axes for text in ax.texts]
    assert words.count("no spread") == 2 and "no trace" in words


# -- most memorized -------------------------------------------------------------------------------


def test_memorized_draws_have_distinct_neighbours_and_the_smallest_ratios(study):
    problem, data, truth = study[0].problem, study[0].data, study[0].truth
    x = data.train[torch.arange(20) % 5] + 0.3 * normal(20, 12, seed=8)
    result = results_of(problem, data, truth, {"near": x})["near"]
    measured_by(NearestNeighbour(k=4, resamples=10), result)
    ((_, canvas, *_),) = FWIMemorized(pairs=2).draw([result])
    raw = result.problem.prior.coordinates.to_raw
    train, x = raw(result.data.train), raw(result.samples.flat)
    distances = torch.cdist(x, train)
    ordered = distances.sort(1).values[:, :4]
    ratio = ordered[:, 0] / ordered[:, 1:].mean(1)
    best = {}
    for i in ratio.argsort().tolist():
        best.setdefault(int(distances[i].argmin()), i)
    for (n, i), left, right in zip(list(best.items())[:2], *_pairs(canvas)):
        assert left.get_title() == f"draw, r = {float(ratio[i]):.2g}"
        assert right.get_title() == f"training {n}"
        for ax, z in ((left, x[i]), (right, train[n])):
            v = (SERIES(z[None])[0] ** -0.5).T.numpy()
            assert np.allclose(np.asarray(ax.images[0].get_array()), v)


def _pairs(canvas):
    shown = [ax for ax in canvas.axes if ax.images]
    return shown[0::2], shown[1::2]


def test_a_row_for_every_point_and_one_scale(study):
    drawn = {p.stem: p.canvas for p in FWIMemorized().draw(study)}
    assert set(drawn) == {f"fwi_memorized_{key}" for key in ("exact", "traced", "free")}
    shown = [ax for ax in drawn["fwi_memorized_exact"].axes if ax.images]
    assert len(shown) == 2 * 2  # one atom a point, and its neighbour
    assert len({tuple(ax.images[0].get_clim()) for ax in shown}) == 1
    assert shown[0].get_title() == "draw, r = 0"


# -- ratios ---------------------------------------------------------------------------------------


def test_curves_cross_the_threshold_at_the_rates(study):
    ((stem, canvas, *_),) = RatioDistributions().draw(study)
    assert stem == "ratio_distributions"
    assert [ax.get_title() for ax in canvas.axes] == ["$N$ = 6", "$N$ = 12"]
    for ax, results in zip(canvas.axes, (study[:3], study[3:])):
        curves = {line.get_label(): line.get_xydata() for line in ax.lines}

        def share(label, curves=curves):
            at, height = curves[label].T
            return height[at < 0.6].max()

        table = {
            name: bounds(array)[0] for name, array in results[2].measured.items() if "rate" in name
        }
        assert share("free") == pytest.approx(table["nn_rate"])
        assert share("held out") == pytest.approx(table["nn_rate_held_out"])
        assert share("left-out training") == pytest.approx(table["nn_rate_leave_one_out"])
        assert len(curves["free"]) == 30 + 2


def test_bars_stand_over_n(study):
    ((_, canvas, *_),) = MemorizationBars(rates=("nn_rate",)).draw(study)
    ticks = [label.get_text() for label in canvas.axes[0].get_xticklabels()]
    assert ticks == ["$N$ = 6", "$N$ = 12"]
    assert canvas.axes[0].get_legend_handles_labels()[1][:2] == ["held out", "leave one out"]


# -- problems that they refuse --------------------------------------------------------------------


@pytest.mark.parametrize("figure", [FWIPanels, FWIMemorized])
def test_problems_without_waves_are_refused(figure):
    results = plain_results(problem_of(normal(4, 2)), {"a": normal(4, 2)}, truth=normal(2))
    with pytest.raises(PluginError, match="operator helmholtz, this has none"):
        list(figure().draw(list(results.values())))


def test_other_refusals(study):
    bare = replace(study[2], load_measured=dict)
    with pytest.raises(PluginError, match=r"add \{type: velocity_error\} to the metrics"):
        list(FWIPanels().draw([bare]))
    with pytest.raises(PluginError, match="coefficients holds 99; allowed are 0 to 11"):
        list(FWIPanels(coefficients=(0, 99)).draw(study[2:3]))
    few = plain_results(problem_of(normal(2, 2)), {"a": normal(4, 2)})
    with pytest.raises(PluginError, match=r"add \{type: nearest_neighbour\} to the metrics"):
        list(RatioDistributions().draw(list(few.values())))
