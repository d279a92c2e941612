"""Runs that fail: which rows they take with them, what is said, and how they are got rid of."""

import pytest
import torch

import mempost
from mempost import Measured, Metric, Samples, TiledSampler
from mempost.core.registry import REGISTRIES
from mempost.core.streams import TILE

BASE = {
    "title": "failures",
    "data": {"type": "points", "values": [[-1.0], [1.0]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.5},
    "operator": {"type": "identity"},
    "noise": {"std": 0.3},
    "observation": {"values": [0.0]},
    "samplers": {"a": {"type": "draws"}},
    "samples": 70,
}


class Draws(TiledSampler):
    """Standard normal draws, with a NaN at one of them or a part that fails."""

    broken: int | None = None
    refuse: bool = False

    @property
    def preparations(self):
        return 1

    def prepare(self, problem, part, progress=None):
        if self.refuse:
            raise RuntimeError("this one is refused")

    def sample_tile(self, problem, tile, streams, progress=None):
        x = streams.at(tile).normal((TILE, 1, problem.dimension))
        if self.broken is not None and self.broken // TILE == tile:
            x[self.broken % TILE] = torch.nan
        return Samples(x)


class Against(Metric):
    """Difference of means to the sampler a."""

    def needs(self, samplers):
        return ("a",)

    def evaluate(self, result):
        other = result.sibling("a").samples.flat.mean()
        return Measured({"against": result.samples.flat.mean() - other})


class Speechless(Metric):
    """Measures, and has no words for it."""

    def evaluate(self, result):
        return Measured({"one": 1.0})

    def verdict(self, results):
        return [results[0].siblings["nobody"].key]


class Broken(Metric):
    """Fails always."""

    def evaluate(self, result):
        raise ValueError("a mistake in a metric")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(REGISTRIES["sampler"]._local, "draws", Draws)
    monkeypatch.setitem(REGISTRIES["metric"]._local, "against", Against)
    monkeypatch.setitem(REGISTRIES["metric"]._local, "broken", Broken)
    monkeypatch.setitem(REGISTRIES["metric"]._local, "speechless", Speechless)


def test_a_failure_is_forgotten_with_its_cause(tmp_path):
    good = {**BASE, "metrics": [{"type": "moments"}]}
    assert mempost.run(good, out=tmp_path).ok
    [status] = mempost.run({**BASE, "metrics": [{"type": "broken"}]}, out=tmp_path).statuses
    assert status.state == "failed" and "a mistake in a metric" in status.reason
    assert mempost.run(good, out=tmp_path).ok


@pytest.mark.parametrize("order", [[True, False, False], [False, True, False]])
def test_a_preparation_that_fails_takes_its_own_run_alone(tmp_path, order):
    samplers = [{"type": "draws", "refuse": refuse} for refuse in order]
    many = {f"s{i}": sampler for i, sampler in enumerate(samplers)}
    study = mempost.run({**BASE, "sweep": {"samplers.a": many}}, out=tmp_path)
    assert [s.state for s in study.statuses] == ["failed" if bad else "ok" for bad in order]


def test_who_is_compared_with_a_failed_sampler_says_so(tmp_path):
    samplers = {"a": {"type": "draws", "refuse": True}, "b": {"type": "draws"}}
    study = mempost.run(
        {**BASE, "samplers": samplers, "metrics": [{"type": "against"}]}, out=tmp_path
    )
    a, b = (s.reason for s in study.statuses)
    assert a == "RuntimeError: this one is refused"
    assert b == f"metrics.0 (against): a, which it is compared with, has failed: {a}"


def test_a_failing_metric_or_verdict_leaves_the_rest_of_the_row(tmp_path):
    metrics = [{"type": "moments"}, {"type": "broken"}, {"type": "speechless"}]
    study = mempost.run({**BASE, "metrics": metrics}, out=tmp_path)
    (row,) = study.rows
    assert row["one"] == 1 and abs(row["mean_0"]) < 1
    assert row["reason"] == "metrics.1 (broken): ValueError: a mistake in a metric"
    assert any(s.startswith("metrics.2: KeyError: ") for s in study.verdicts)
    assert "metrics.2: KeyError" in (tmp_path / "report.html").read_text()


def test_the_sample_that_is_not_finite_is_named(tmp_path):
    study = mempost.run(BASE, set={"samplers.a.broken": 69}, out=tmp_path)
    assert "x is not finite at sample 69" in study.statuses[0].reason
    filling = mempost.run(BASE, set={"samplers.a.broken": 70}, out=tmp_path)
    assert filling.ok  # draws 70 to 95 only fill up the last tile
    assert torch.isfinite(filling.results[0].samples.values).all()
