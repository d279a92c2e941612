"""Wrong metrics and figures, each caught by a public check that is named here; right ones pass."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure as Canvas

from mempost import Figure, Measured, Metric, Picture
from mempost.core.errors import PluginError
from mempost.testing import check_figure, check_metric, figure_checks, metric_checks
from mempost.testing.measurements import with_measured

# -- metrics --------------------------------------------------------------------------------------


class Spread(Metric):
    """Standard deviation of the draws of x, and its ratio to that of another sampler."""

    reference: str = "exact"

    def evaluate(self, result):
        own, other = (r.samples.flat.std(0) for r in (result, result.sibling(self.reference)))
        axes = {"coordinate": range(len(own))}
        return Measured(
            {"own_spread": ("coordinate", own), "spread_ratio": (own / other).mean()}, axes
        )

    def verdict(self, results):
        ratios = [
            (r.key, float(r.measured["spread_ratio"]))
            for r in results
            if "spread_ratio" in r.measured
        ]
        return [f"{key} spreads {ratio:.2f} times as far." for key, ratio in ratios]


class Widths(Metric):
    """Ranges of the training examples: of the data alone."""

    subject: ClassVar = "data"

    def evaluate(self, subject):
        if subject.data is None:
            return Measured()
        x = subject.data.train.flatten(1)
        return Measured({"width_of_data": ("coordinate", x.max(0).values - x.min(0).values)})


class Between(Metric):
    """Distances between the means of all samplers at a point."""

    subject: ClassVar = "point"

    def evaluate(self, point):
        keys = list(point.results)
        means = torch.stack([point.results[key].samples.flat.mean(0) for key in keys])
        apart = (means[:, None] - means).norm(dim=-1)
        return Measured({"apart": (("one", "other"), apart)}, {"one": keys, "other": keys})


class Raises(Spread):
    def evaluate(self, result):
        raise ValueError("a mistake")


class Refuses(Spread):
    def evaluate(self, result):
        raise PluginError("not this one")


class GivesColumns(Spread):
    def evaluate(self, result):
        return dict(super().evaluate(result).columns)


class NamesWithBlanks(Spread):
    def evaluate(self, result):
        return Measured({"own spread": result.samples.flat.std()})


class OwnGenerator(Spread):
    def evaluate(self, result):
        return Measured({"jitter": np.random.default_rng().normal()})


class GlobalGenerator(Spread):
    def evaluate(self, result):
        torch.manual_seed(0)
        return Measured({"jitter": torch.randn(())})


class CentresInPlace(Spread):
    def evaluate(self, result):
        x = result.samples.values
        x -= x.mean()
        return super().evaluate(result)


class Undeclared(Spread):
    def needs(self, samplers):
        return ()


class VerdictFromDraws(Spread):
    def verdict(self, results):
        return [f"{r.key} has {len(r.samples)} draws." for r in results]


class VerdictTakesForGranted(Spread):
    def verdict(self, results):
        return [f"{r.key}: {float(r.measured['spread_ratio']):.2f}." for r in results]


@pytest.mark.parametrize("metric", [Spread(), Widths(), Between()])
def test_right_metrics_pass(metric):
    assert check_metric(metric).ok


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (Raises(), "evaluates"),
        (Refuses(), "evaluates"),
        (GivesColumns(), "evaluates"),
        (Spread(reference="nobody"), "evaluates"),
        (NamesWithBlanks(), "columns_plain"),
        (OwnGenerator(), "seed_determinism"),
        (GlobalGenerator(), "global_random_state"),
        (CentresInPlace(), "arguments_kept"),
        (Undeclared(), "needs_declared"),
        (VerdictFromDraws(), "verdict_of_measurements"),
        (VerdictTakesForGranted(), "verdict_of_measurements"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_named_check_catches_the_metric(metric, name):
    outcomes = {check.name: check.outcome() for check in metric_checks(metric)}
    assert outcomes[name].status == "failed", outcomes[name]


# -- figures --------------------------------------------------------------------------------------


class SpreadBars(Figure):
    """Bars of the spread that `Spread` measures, one a result."""

    def draw(self, results):
        shown = [r for r in results if "spread_ratio" in r.measured]
        if not shown:
            raise PluginError("spread_bars draws what the metric spread measures: add it")
        canvas = Canvas(layout="constrained")
        axes = canvas.subplots()
        heights = [float(r.measured["spread_ratio"]) for r in shown]
        axes.bar(range(len(heights)), heights)
        text = ", ".join(f"{r.key} {h:.2f}" for r, h in zip(shown, heights, strict=True))
        yield Picture("spread_bars", canvas, f"Spread over the exact one: {text}.", f"Bars: {text}")


class FigureRaises(SpreadBars):
    def draw(self, results):
        raise ValueError("a mistake")


class FigureRefuses(SpreadBars):
    def draw(self, results):
        raise PluginError("not this one")


class DrawsNothing(SpreadBars):
    def draw(self, results):
        return []


class YieldsPairs(SpreadBars):
    def draw(self, results):
        return [(picture.stem, picture.canvas) for picture in super().draw(results)]


class WithoutWords(SpreadBars):
    def draw(self, results):
        return [picture._replace(alt="") for picture in super().draw(results)]


class SameStem(SpreadBars):
    def draw(self, results):
        return [*super().draw(results), *super().draw(results)]


class Jitters(SpreadBars):
    def draw(self, results):
        for picture in super().draw(results):
            picture.canvas.axes[0].plot(np.random.normal(size=9))  # noqa: NPY002
            yield picture


class Normalises(SpreadBars):
    def draw(self, results):
        for result in results:
            result.measured["spread_ratio"] /= 2
        return super().draw(results)


class TakesForGranted(SpreadBars):
    def draw(self, results):
        [float(result.measured["spread_ratio"]) for result in results]
        return super().draw(results)


class MeasuresAgain(SpreadBars):
    def draw(self, results):
        own = [with_measured(r, {**r.measured}) for r in results]
        for result in own:
            if "spread_ratio" in result.measured:
                float(results[0].measured["spread_ratio"])
                result.measured |= Spread().evaluate(result)
        return super().draw(own)


def test_a_right_figure_passes():
    assert check_figure(SpreadBars(), measure=[Spread()]).ok


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        (FigureRaises(), "draws"),
        (FigureRefuses(), "draws"),
        (DrawsNothing(), "draws"),
        (YieldsPairs(), "draws"),
        (WithoutWords(), "said_in_words"),
        (SameStem(), "said_in_words"),
        (Jitters(), "global_random_state"),
        (Normalises(), "arguments_kept"),
        (TakesForGranted(), "says_what_is_missing"),
        (MeasuresAgain(), "measurements_drawn"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_named_check_catches_the_figure(figure, name):
    checks = figure_checks(figure, measure=[Spread()])
    outcomes = {check.name: check.outcome() for check in checks}
    assert outcomes[name].status == "failed", outcomes[name]
