"""What figures show: panels, curves, labels and ticks. No pixels are compared."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import QuadMesh
from matplotlib.container import BarContainer
from matplotlib.figure import Figure as Canvas
from metric_results import Cubic, Normal, NormalMixture, problem_of, results_of

from mempost.core.errors import PluginError
from mempost.core.figure import Picture
from mempost.core.measured import Measured, interval
from mempost.core.metric import Metric
from mempost.core.operator import ForwardOperator
from mempost.core.plugin import Plugin
from mempost.core.registry import REGISTRIES
from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.core.streams import Streams
from mempost.methods.drawing import densities, style
from mempost.plugins.figures.densities_1d import Densities1D
from mempost.plugins.figures.densities_2d import Densities2D
from mempost.plugins.figures.effective_modes import EffectiveModesFigure
from mempost.plugins.figures.error_against_steps import ErrorAgainstSteps, slope
from mempost.plugins.figures.memorization_bars import MemorizationBars
from mempost.plugins.figures.nearest_images import NearestImages, data_image
from mempost.plugins.figures.sampler_histograms import SamplerHistograms
from mempost.plugins.figures.trace import Trace
from mempost.plugins.metrics.mcmc import MCMCDiagnostics
from mempost.plugins.metrics.moments import Moments
from mempost.plugins.metrics.nearest_neighbour import NearestNeighbour
from mempost.testing.examples import example_plugin

LINE = [[-1.5], [-0.4], [0.4], [1.2], [2.5]]
PENTAGON = [[2 * math.cos(k * 0.4 * math.pi), 2 * math.sin(k * 0.4 * math.pi)] for k in range(5)]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Streams(seed, "data").at().normal(shape)


def drawn(pictures: Iterable[Picture]) -> dict[str, Canvas]:
    """Figures by name, each rendered once: what cannot be laid out fails here."""
    pictures = list(pictures)
    found = {picture.stem: picture.canvas for picture in pictures}
    for picture in pictures:  # in words of its own, without mathematics to be typeset
        for words in (picture.caption, picture.alt):
            assert words.endswith(".") and len(words) > 30 and "$" not in words
        assert picture.caption != picture.alt
    for name, figure in found.items():
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    return found


def measured_by(metric: Metric, results: Iterable[Result]) -> list[Result]:
    """The results, with what a metric has measured of each."""
    found = list(results)
    for result in found:
        result.measured.update(metric.evaluate(result))
    return found


def curve(ax: Any, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [line for line in ax.get_lines() if line.get_label() == label]
    return found.get_data()


def legend_labels(figure: Canvas) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def on_the_line(bandwidths: tuple[float, ...] = (0.5, 0.3)) -> list[Result]:
    """A sweep with an exact answer, an approximation with a density, and bare draws."""
    results: list[Result] = []
    for h in bandwidths:
        problem = problem_of(LINE, bandwidth=h, operator=Cubic(), y=[0.0])
        answers = {
            "exact": NormalMixture([0.5, 0.5], [[-0.4], [0.4]], 0.2),
            "lgm_one": Normal([0.1], [0.3]),
            "draws": 0.3 * normal(400, 1),
        }
        point = {"prior.bandwidth": h}
        results += results_of(problem, answers, point=point, truth=torch.tensor([0.2])).values()
    return results


# -- the style --------------------------------------------------------------------------------


def test_points_and_titles() -> None:
    results = on_the_line()
    groups = style.by_point(results)
    assert [list(group) for group in groups] == [["exact", "lgm_one", "draws"]] * 2
    titles = [style.title_of(group["exact"].point) for group in groups]
    assert titles == ["$h$ = 0.5", "$h$ = 0.3"]
    point: Mapping[str, Any] = {"operator": "half_mask", "samplers.dps.n_steps": 50, "x.tau": 1e-5}
    assert style.title_of(point) == "half mask, dps n steps = 50, tau = 1e-05"


def test_looks_differ_and_stay() -> None:
    problem = problem_of([[0.0]])
    draws = torch.zeros(1, 1).double()
    many = list(results_of(problem, {f"s{i}": draws for i in range(10)}).values())
    looks = style.looks(many)
    assert len(set(looks.values())) == 10
    assert style.looks(many, "s3")["s3"].color == style.BLACK
    assert style.looks(many, "s3")["s5"] == looks["s5"]


def test_thinning_keeps_the_ends() -> None:
    groups: list[dict[str, Result]] = [{str(i): None} for i in range(70)]  # type: ignore[dict-item]
    thinned = style.thinned(groups, 4)
    assert [next(iter(group)) for group in thinned] == ["0", "23", "46", "69"]
    assert style.thinned(groups[:3], 4) == groups[:3]


def test_histogram_counts_what_is_outside() -> None:
    heights, edges = style.histogram(np.array([0.1, 0.2, 0.6, 5.0]), (0.0, 1.0), 2)
    assert heights.tolist() == [1.0, 0.5]
    assert edges.tolist() == [0.0, 0.5, 1.0]


def test_region_levels_of_a_normal() -> None:
    """The region of mass p of a standard normal in the plane has radius sqrt(-2 log(1 - p))."""
    x = np.linspace(-6, 6, 601)
    density = np.exp(-(x[:, None] ** 2 + x**2) / 2) / (2 * np.pi)
    masses = (0.5, 0.95)
    expected = [(1 - p) / (2 * np.pi) for p in reversed(masses)]
    assert densities.region_levels(density, masses) == pytest.approx(expected, rel=5e-3)
    spike = np.zeros(100)
    spike[3] = 1.0
    assert densities.region_levels(spike, masses) == [1.0]


# -- densities --------------------------------------------------------------------------------


def test_densities_1d() -> None:
    results = on_the_line()
    figures = drawn(Densities1D().draw(results))
    assert list(figures) == ["densities_1d"]
    axes = figures["densities_1d"].axes
    assert [ax.get_title() for ax in axes] == ["$h$ = 0.5", "$h$ = 0.3"]
    for ax in axes:
        assert ax.get_xlim() == pytest.approx((-2, 3))
        for label in ("exact", "lgm one", "likelihood (in $x$)"):
            x, p = curve(ax, label)
            assert np.trapezoid(p, x) == pytest.approx(1, abs=1e-3)
        x, p = curve(ax, "exact")
        peak = 0.5 / (0.2 * math.sqrt(2 * math.pi))
        assert p[np.abs(x - 0.4).argmin()] == pytest.approx(peak, rel=1e-2)
        assert ax.get_ylim()[1] >= p.max()
        ticks, _ = curve(ax, "training points")
        assert sorted(ticks) == [-1.5, -0.4, 0.4, 1.2, 2.5]
        (steps,) = [patch for patch in ax.patches if patch.get_label() == "draws"]
        heights, edges, _ = steps.get_data()
        assert (heights * np.diff(edges)).sum() == pytest.approx(1)
    x, p = curve(axes[0], "likelihood (in $x$)")
    expected = np.exp(-((x + 0.3 * x**3) ** 2) / 0.18)
    np.testing.assert_allclose(p / p.max(), expected / expected.max(), atol=1e-12)
    assert axes[0].get_ylabel() == "density" and axes[0].get_xlabel() == "$x$"
    assert set(legend_labels(figures["densities_1d"])) == {
        "prior", "likelihood (in $x$)", "exact", "lgm one", "draws", "training points", "truth"
    }  # fmt: skip


def test_densities_1d_of_a_long_sweep_and_a_lost_run() -> None:
    results = on_the_line(tuple(0.1 + 0.01 * i for i in range(30)))
    results = [result for result in results if result.key != "exact"]
    figures = drawn(Densities1D(panels=5, window=(-1, 1)).draw(results))
    axes = figures["densities_1d"].axes
    assert len(axes) == 5
    assert axes[0].get_xlim() == (-1, 1)
    assert "exact" not in legend_labels(figures["densities_1d"])


def in_the_plane() -> list[Result]:
    results: list[Result] = []
    truth = torch.tensor([1.4, 0.0]).double()
    for h in (0.5, 0.05):
        mixture = NormalMixture([0.9, 0.1], [[1.6, -0.2], [1.0, 0.7]], 0.3)
        mixture.component_means = mixture.means  # type: ignore[attr-defined]
        mixture.component_covariances = lambda index: torch.diag(  # type: ignore[attr-defined]
            torch.tensor([0.04, 0.09]).double()
        ).expand(len(index), 2, 2)
        answers = {
            "exact": Normal([1.6, -0.2], [0.3, 0.3]),
            "lgm": mixture,
            "draws": 0.3 * normal(50, 2) + 1,
        }
        problem = problem_of(PENTAGON, bandwidth=h)
        results += results_of(problem, answers, point={"prior.bandwidth": h}, truth=truth).values()
    return results


def test_densities_2d() -> None:
    figures = drawn(Densities2D(points=81).draw(in_the_plane()))
    axes = np.array(figures["densities_2d"].axes).reshape(2, 2)
    assert [ax.get_title() for ax in axes[0]] == ["$h$ = 0.5", "$h$ = 0.05"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["lgm\n$x_{2}$", "draws\n$x_{2}$"]
    for ax in axes.flat:
        points = np.stack(curve(ax, "training points"), 1)
        np.testing.assert_allclose(points, PENTAGON, atol=1e-12)
        star = [float(v[0]) for v in curve(ax, "truth")]
        assert star == pytest.approx([1.4, 0.0])
        assert ax.get_aspect() == 1
    filled = axes[0, 0].collections[0]
    assert len(filled.get_paths()) == 4
    dots = curve(axes[1, 0], "draws")
    assert len(dots[0]) == 50
    # the ellipses are those of the covariance: half axes 0.2 and 0.3 about the means
    ellipses = [line.get_xydata() for line in axes[0, 0].get_lines() if len(line.get_xdata()) == 65]
    assert len(ellipses) == 2
    np.testing.assert_allclose(ellipses[0].min(0), [1.6 - 0.2, -0.2 - 0.3], atol=1e-3)
    np.testing.assert_allclose(ellipses[0].max(0), [1.6 + 0.2, -0.2 + 0.3], atol=1e-3)


def test_densities_2d_says_what_is_missing() -> None:
    results = in_the_plane()
    del results[4]  # lgm at the second point
    figures = drawn(Densities2D(points=21).draw(results))
    texts = [t.get_text() for ax in figures["densities_2d"].axes for t in ax.texts]
    assert texts == ["no result"]
    alone = drawn(Densities2D(points=21).draw([r for r in results if r.key == "exact"]))
    assert len(alone["densities_2d"].axes) == 2


@pytest.mark.parametrize(
    ("figure", "message"),
    [(Densities1D(), "draws one dimension, found 2"), (Densities2D(), "two dimensions, found 1")],
)
def test_densities_refuse_other_dimensions(figure: Any, message: str) -> None:
    results = in_the_plane() if isinstance(figure, Densities1D) else on_the_line()
    with pytest.raises(PluginError, match=message):
        list(figure.draw(results))


def test_histograms_in_one_and_two_dimensions() -> None:
    results = on_the_line()
    results[1].measured.update(Measured({"sliced_wasserstein": 0.1234}))
    figures = drawn(SamplerHistograms().draw(results))
    assert list(figures) == ["sampler_histograms"]
    axes = np.array(figures["sampler_histograms"].axes).reshape(2, 2)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["lgm\none", "draws"]
    x, p = curve(axes[1, 1], "exact density")
    assert np.trapezoid(p, x) == pytest.approx(1, abs=1e-3)
    assert [t.get_text() for t in axes[0, 0].texts] == ["$SW_1$ = 0.12"]
    assert len(axes[1, 0].texts) == 0

    figures = drawn(SamplerHistograms(bins=20).draw(in_the_plane()))
    assert list(figures) == ["sampler_histograms_x1", "sampler_histograms_x2"]
    figure = drawn(SamplerHistograms(coordinates=(1,)).draw(in_the_plane()))
    assert list(figure) == ["sampler_histograms_x2"]
    assert figure["sampler_histograms_x2"].axes[-1].get_xlabel() == "$x_{2}$"
    with pytest.raises(PluginError, match="coordinates holds 2; allowed are 0 to 1"):
        list(SamplerHistograms(coordinates=(2,)).draw(in_the_plane()))


# -- curves over a sweep ------------------------------------------------------------------------


def swept(measured: Mapping[str, Any], point: Mapping[str, Any], key: str = "exact") -> Result:
    problem = problem_of([[0.0], [1.0]])
    draws = {key: torch.zeros(2, 1).double()}
    return results_of(problem, draws, point=point, measured={key: measured})[key]


def test_effective_modes() -> None:
    bandwidths = [0.01, 0.1, 1.0, 10.0]
    results = [
        swept(
            {"effective_modes": min(n, 1 + h * n), "dominance_bandwidth": 1 / n},
            {"data.n": n, "prior.bandwidth": h},
        )
        for n in (3, 10)
        for h in bandwidths
    ]
    figures = drawn(EffectiveModesFigure().draw(results))
    (ax,) = figures["effective_modes"].axes
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlabel() == "prior bandwidth $h$"
    x, y = curve(ax, "$N$ = 10")
    assert x.tolist() == bandwidths and y.tolist() == [1.1, 2.0, 10, 10]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["$N$ = 3", "$N$ = 10", r"$h_\mathrm{crit}$"]
    markers = [line.get_xydata()[0] for line in ax.get_lines() if len(line.get_xdata()) == 1]
    assert [m[0] for m in markers] == pytest.approx([1 / 3, 0.1])
    assert markers[1][1] == pytest.approx(2.0)
    with pytest.raises(PluginError, match="one of them is missing"):
        list(EffectiveModesFigure(coordinate="noise.std").draw(results))


def test_error_against_steps() -> None:
    results = []
    for steps in (4, 8, 16, 32):
        for key, order in (("euler", 1), ("heun", 2)):
            value = steps**-order
            measured = {"energy_distance": interval(value, 0.9 * value, 1.2 * value)}
            measured["energy_distance_null_high"] = 0.002
            point = {"samplers.euler.steps": steps, "samplers.heun.steps": 2 * steps}
            results.append(swept(measured, point, key))
    figures = drawn(ErrorAgainstSteps(metric="energy_distance").draw(results))
    assert list(figures) == ["energy_distance_against_steps"]
    (ax,) = figures["energy_distance_against_steps"].axes
    labels = legend_labels(figures["energy_distance_against_steps"])
    assert {"euler: slope -1.00", "heun: slope -2.00", "95 % of exact draws"} == set(labels)
    heun = ax.containers[1].lines[0].get_data()
    assert heun[0].tolist() == [8, 16, 32, 64]  # its own steps
    assert [t.get_text() for t in ax.get_xticklabels()] == ["4", "8", "16", "32", "64"]
    assert ax.get_ylabel() == "energy distance"
    with pytest.raises(PluginError, match=r"metric mmd over a sweep of samplers\.\*\.steps"):
        list(ErrorAgainstSteps(metric="mmd").draw(results))


def test_slope_leaves_out_the_floor() -> None:
    steps = np.array([1.0, 2, 4, 8, 16])
    values = np.maximum(steps**-1.5, 0.1)
    points = np.stack([steps, values, values, values, np.full(5, 0.1)], 1)
    assert slope(points) == pytest.approx(-1.5)
    assert slope(points[3:]) is None


# -- memorization -------------------------------------------------------------------------------


def test_memorization_bars() -> None:
    results = []
    for n, rate in ((50, 0.9), (200, 0.4)):
        measured = {}
        for i, suffix in enumerate(("", "_held_out", "_leave_one_out")):
            p = rate - 0.1 * i
            measured[f"nn_rate{suffix}"] = interval(p, p - 0.05, p + 0.02)
        point = {"operator": "mask", "data.n_train": n}
        results.append(swept(measured, point, "exact"))
        results.append(swept(measured | {"nn_rate": interval(0.1, 0.05, 0.2)}, point, "dps"))
    (picture,) = pictures = list(MemorizationBars().draw(results))
    figures = drawn(pictures)
    assert "0.9 (0.85 to 0.92) against 0.8 (0.75 to 0.82) held out" in picture.caption
    (ax,) = figures["memorization_bars"].axes  # nn_third_rate was not measured
    bars = [c for c in ax.containers if isinstance(c, BarContainer)]
    heights = [round(bar.patches[0].get_height(), 6) for bar in bars]
    assert heights == [0.8, 0.7, 0.9, 0.1, 0.3, 0.2, 0.4, 0.1]
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks == ["mask\n$N$ = 50", "mask\n$N$ = 200"]
    assert legend_labels(figures["memorization_bars"]) == [
        "held out", "leave one out", "exact", "dps"
    ]  # fmt: skip
    spans = [line.get_segments()[0][:, 1] for line in ax.collections]
    np.testing.assert_allclose(spans[0], [0.75, 0.82])
    with pytest.raises(PluginError, match="nearest_neighbour"):
        list(MemorizationBars(rates=("nn_third_rate",)).draw(results))


class Top(ForwardOperator):
    """The upper half of an image, doubled."""

    tags = frozenset({"linear"})

    def range_shape(self, domain_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (domain_shape[0] // 2 * domain_shape[1],)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x[:, : x.shape[1] // 2].flatten(1)


def images(operator: ForwardOperator | None = None) -> list[Result]:
    train = normal(12, 16).abs()
    truth = normal(16, seed=1).abs()
    y = None
    if operator is not None:
        y = operator(truth.reshape(1, 4, 4))[0]
    results: list[Result] = []
    for n in (6, 12):
        problem = problem_of(train[:n], operator=operator, y=y, shape=(4, 4), std=0.1)
        draws = train[torch.tensor([2, 0, 5, 1])] + 0.01
        answers = {"draws": draws, "closed": Normal(train[0], torch.full((16,), 0.2))}
        results += results_of(problem, answers, point={"data.n": n}, truth=truth, n=5).values()
    return measured_by(Moments(), measured_by(NearestNeighbour(resamples=10), results))


def test_nearest_images() -> None:
    results = images(Top())
    pictures = list(NearestImages(samples=2).draw(results))
    figures = drawn(pictures)
    assert f"{float(results[0].measured['nn_rate'][0]):.3g} (" in pictures[0].caption
    assert list(figures) == ["nearest_images_draws", "nearest_images_closed"]
    panels = [ax for ax in figures["nearest_images_draws"].axes if ax.images]
    assert len(panels) == 2 * 8
    titles = [ax.get_title() for ax in panels[:8]]
    assert titles == ["truth", "data", "mean", "std", "draw", "nearest", "draw", "nearest"]
    assert [panels[0].get_ylabel(), panels[8].get_ylabel()] == ["$N$ = 6", "$N$ = 12"]
    train = results[0].problem.prior.means  # type: ignore[attr-defined]
    shown = [ax.images[0].get_array() for ax in panels]
    np.testing.assert_allclose(shown[4], (train[2] + 0.01).reshape(4, 4))
    np.testing.assert_allclose(shown[5], train[2].reshape(4, 4))
    np.testing.assert_allclose(shown[7], train[1].reshape(4, 4))
    assert panels[5].get_xlabel().startswith("$r$ = 0.0")
    # data: the seen half is the truth, the hidden half is masked
    assert shown[1].mask.reshape(4, 4)[2:].all() and not shown[1].mask[:2].any()
    np.testing.assert_allclose(shown[1][:2], results[0].truth.reshape(4, 4)[:2])
    # one scale for all intensities, one for the standard deviations
    assert len({ax.images[0].get_clim() for ax in panels if ax.get_title() != "std"}) <= 2
    bars = [ax for ax in figures["nearest_images_draws"].axes if not ax.images]
    assert sum(any(isinstance(c, QuadMesh) for c in ax.collections) for ax in bars) == 2


def test_data_that_are_images_stay() -> None:
    (first, *_) = images()
    assert data_image(first) is first.problem.y
    del first.measured["mean"]
    with pytest.raises(PluginError, match=r"add \{type: moments\} to the metrics"):
        list(NearestImages().draw([first]))
    with pytest.raises(PluginError, match=r"draws images \(height, width\), found shape \(1,\)"):
        list(NearestImages().draw(on_the_line()))


# -- chains -------------------------------------------------------------------------------------


def test_trace() -> None:
    problem = problem_of([[0.0, 0.0]])
    chains = Samples(normal(6, 40, 2))
    answers = {"mala": chains, "exact": Normal([0.0, 0.0], [1.0, 1.0])}
    results = measured_by(MCMCDiagnostics(), results_of(problem, answers).values())
    (picture,) = pictures = list(Trace(coordinate=1, chains=3, lags=10).draw(results))
    figures = drawn(pictures)
    columns = MCMCDiagnostics().evaluate(results[0]).columns
    assert list(columns) == ["ess_bulk", "ess_tail", "r_hat"]
    assert f"worst coordinate {columns['ess_bulk']:.0f} and" in picture.caption
    assert list(figures) == ["trace"]
    left, right = figures["trace"].axes
    assert len(left.get_lines()) == 3
    np.testing.assert_array_equal(left.get_lines()[2].get_ydata(), chains.values[2, :, 1])
    title = left.get_title(loc="left")
    assert re.fullmatch(r"mala: ESS \d+ of 240, \$\\hat\{R\}\$ = [01]\.\d{3}", title)
    assert len(right.collections[0].get_segments()) == 11
    assert left.get_ylabel() == "$x_{2}$"
    segments = right.collections[0].get_segments()
    rho = results[0].measured["autocorrelation"][1]
    np.testing.assert_allclose([part[1, 1] for part in segments], rho[:11])
    with pytest.raises(PluginError, match=r"add \{type: mcmc\} to the metrics"):
        list(Trace().draw([r for r in results if r.key == "exact"]))
    with pytest.raises(PluginError, match="coordinate is 5; allowed are 0 to 1"):
        list(Trace(coordinate=5).draw(results))


def test_traces_of_a_sweep_are_numbered() -> None:
    results: list[Result] = []
    for h in (0.1, 0.2):
        answers = {"ula": Samples(normal(4, 10, 1))}
        results += results_of(problem_of([[0.0]]), answers, point={"prior.bandwidth": h}).values()
    figures = drawn(Trace().draw(measured_by(MCMCDiagnostics(), results)))
    assert list(figures) == ["trace_0", "trace_1"]


# -- all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["figure", "metric"])
def test_registered_recipes_survive_a_round_trip(kind: str) -> None:
    registry = REGISTRIES[kind]
    own = [n for n in registry.names if registry.entry(n).target.startswith("mempost.plugins")]
    assert len(own) >= (8 if kind == "figure" else 12)
    for name in own:
        cls: type[Plugin] = registry.get(name)
        recipe = example_plugin(cls)
        assert cls.model_validate(recipe.model_dump(mode="json")) == recipe
        assert hash(recipe) == hash(example_plugin(cls))
        assert len(cls.summary()) > 20 and cls.summary().endswith(".")


def test_importing_figures_does_not_import_matplotlib() -> None:
    names = "densities_1d densities_2d effective_modes error_against_steps memorization_bars "
    names += "nearest_images sampler_histograms trace"
    modules = ", ".join(f"mempost.plugins.figures.{name}" for name in names.split())
    code = f"import {modules}, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
