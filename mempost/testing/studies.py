"""Results of small studies, for the checks of metrics and figures.

    for result in results_of(STUDIES["line"]): ...

Nothing is written: draws, measurements and problems are made when they are asked for. The studies
have what metrics and figures look for: a sweep, exact and approximate samplers, kept states of a
reverse process, Markov chains, images, many truths, waves, a learned prior, a flow without data.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

from mempost.core.measured import Array
from mempost.core.metric import Metric
from mempost.core.progress import silent
from mempost.core.result import DataAndPrior, PointResults, Result
from mempost.core.sampler import Samples
from mempost.experiments.build import Setup, build, rebuild
from mempost.experiments.drawing import Draws
from mempost.experiments.fitting import fit_prior, load_data
from mempost.experiments.plan import Run, make_plan

_DPS = {
    "type": "dps",
    "rule": {"type": "residual_norm", "zeta": 0.05},
    "steps": 8,
    "solver": "euler_maruyama",
    "save": [0.8, 0.4, 0.1],
}
_LINE: dict[str, Any] = {
    "title": "Five points on the line, seen through a cubic",
    "seed": 1,
    "data": {
        "type": "points",
        "values": [[-1.5], [-0.4], [0.4], [1.2], [2.5]],
        "held_out": [[-1.0], [0.0], [2.0]],
    },
    "prior": {"type": "empirical_gmm", "bandwidth": 0.3},
    "operator": {"type": "polynomial", "coefficients": [0, 1, 0, 0.3]},
    "noise": {"std": 0.3},
    "observation": {"truth": {"type": "values", "values": [0.3]}},
    "samplers": {
        "exact": {"type": "quadrature"},
        "lgm": {"type": "exact_lgm"},
        "dps": _DPS,
        "chains": {"type": "mala", "warmup": 10, "draws": 8, "thin": 1},
        "importance": {"type": "importance", "population": 32},
    },
    "samples": 64,
    "sweep": {"prior.bandwidth": [0.5, 0.3, 0.1]},
    "metrics": [
        {"type": "finite_sample_lens"},
        {"type": "collapse"},
        {"type": "effective_modes"},
        {"type": "dominance_bandwidth"},
        {"type": "nearest_neighbour", "k": 3, "resamples": 50},
        {"type": "sliced_wasserstein", "resamples": 20},
        {"type": "mcmc"},
        {"type": "between_references", "first": "exact", "second": "dps", "resamples": 20},
    ],
}
_IMAGES: dict[str, Any] = {
    "title": "Small images, half of them hidden",
    "seed": 1,
    "data": {"type": "gaussian_random_field", "n": 4, "n_train": 12, "n_held_out": 8},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.0},
    "operator": {"type": "mask", "shape": [4, 4], "pattern": "random"},
    "noise": {"std": 0.01},
    "observation": {"truth": {"type": "held_out"}},
    "samplers": {"exact": {"type": "finite_sample_weights"}, "dps": {**_DPS, "steps": 4}},
    "samples": 32,
    "sweep": {"samplers.dps.steps": [4, 8]},
    "metrics": [
        {"type": "moments"},
        {"type": "nearest_neighbour", "resamples": 20},
        {"type": "sliced_wasserstein", "resamples": 20},
    ],
}
_PLANE: dict[str, Any] = {
    "title": "A triangle in the plane",
    "seed": 1,
    "data": {"type": "regular_polygon", "n": 3},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.4},
    "operator": {"type": "identity"},
    "noise": {"std": 0.5},
    "observation": {"values": [0.3, 0.2]},
    "samplers": {"exact": {"type": "quadrature"}, "dps": _DPS},
    "samples": 64,
    "metrics": [{"type": "finite_sample_lens"}, {"type": "moments"}],
}
_CALIBRATION: dict[str, Any] = {
    "title": "Many truths of a normal prior",
    "seed": 1,
    "prior": {"type": "gaussian", "mean": [0.0, 1.0], "covariance": [[1.0, 0.3], [0.3, 0.5]]},
    "operator": {"type": "identity"},
    "noise": {"std": 0.5},
    "observation": {"truth": {"type": "prior"}},
    "calibration": {"truths": 32},
    "samplers": {
        "exact": {"type": "exact_lgm"},
        "narrow": {"type": "distorted", "sampler": {"type": "exact_lgm"}, "scale": 0.5},
    },
    "samples": 8,
    "metrics": [
        {"type": "sbc"},
        {"type": "tarp", "resamples": 20},
        {"type": "coverage"},
    ],
}
_WAVES: dict[str, Any] = {
    "title": "Velocities from waves, under a memorized and a learned prior",
    "seed": 1,
    "data": {
        "type": "projected",
        "dataset": {
            "type": "gaussian_random_field",
            "variant": "reference",
            "n": 12,
            "n_train": 8,
            "n_held_out": 6,
        },
        "operator": {"type": "kl_cosine", "shape": [12, 12], "modes": [3, 3]},
    },
    "prior": {"type": "empirical_gmm", "bandwidth": 0.1, "standardise": True},
    "priors": {
        "learned": {
            "type": "learned_score",
            "standardise": True,
            "network": {"type": "residual_mlp", "width": 8, "blocks": 1},
            "steps": 20,
            "batch": 16,
        }
    },
    "operator": [
        {
            "type": "helmholtz",
            "shape": [12, 12],
            "spacing": 0.15,
            "frequencies": [1.0],
            "sources": {"start": [0.15, 0.15], "stop": [1.65, 0.15], "number": 2},
            "receivers": {"start": [0.15, 1.65], "stop": [1.65, 1.65], "number": 4},
        },
        {"type": "squared_slowness", "bounds": [1.0, 6.0]},
        {"type": "kl_cosine", "shape": [12, 12], "modes": [3, 3]},
        {"type": "standardise", "from": "prior"},
    ],
    "noise": {"relative_to_max": 0.1},
    "observation": {"truth": {"type": "train", "indices": [0, 1]}},
    "samplers": {
        "exact": {"type": "exact_lgm"},
        "atoms": {"type": "finite_sample_weights"},
        "learned": {**_DPS, "rule": "unit_gradient", "start": "standard_normal"},
        "empirical": {**_DPS, "rule": "unit_gradient", "start": "standard_normal"},
    },
    "samples": 8,
    "metrics": [
        {"type": "moments"},
        {"type": "nearest_neighbour", "resamples": 20},
        {"type": "linearisation", "draws": 2, "components": 1},
        {"type": "pixel_calibration"},
        {"type": "misfit", "draws": 8, "resamples": 20},
        {"type": "velocity_error", "resamples": 20},
    ],
}
_FLOW: dict[str, Any] = {
    "title": "A flow to regularised points in the plane, without a question",
    "seed": 1,
    "data": {
        "type": "points",
        "values": [[-1.0, 0.0], [1.0, 0.2], [0.1, 1.5], [0.3, -1.4]],
        "held_out": [[0.0, 0.0]],
    },
    "prior": {
        "type": "tikhonov",
        "c": 1e-4,
        "base": {"type": "empirical_gmm", "bandwidth": 0.0},
    },
    "samplers": {
        "flow": {
            "type": "reverse_diffusion",
            "schedule": {"type": "ve", "sigma_min": 1e-3, "sigma_max": 5.0},
            "solver": "dormand_prince",
            "start": "noise",
            "final": "stop",
            "save": {"dense": 20},
        }
    },
    "samples": 32,
    "sweep": {"prior.c": [1e-4, 1e-2]},
    "metrics": [
        {"type": "limit_point"},
        {"type": "convergence", "at": 2.0},
        {"type": "path_weights"},
        {"type": "score_growth", "levels": 10},
    ],
}
STUDIES: Mapping[str, Mapping[str, Any]] = {
    "line": _LINE,
    "plane": _PLANE,
    "images": _IMAGES,
    "calibration": _CALIBRATION,
    "waves": _WAVES,
    "flow": _FLOW,
}
"""Specs by name."""


def results_of(spec: Mapping[str, Any], metrics: Sequence[Metric] = ()) -> list[Result]:
    """The results of a spec, point by point, drawn and measured when they are asked for.

    Args:
        spec: plain data, as a spec file holds them.
        metrics: what is measured besides the metrics of the spec.

    Raises:
        SpecError: the spec is wrong.
    """
    found: list[Result] = []
    for _, runs in groupby(make_plan(spec, "example").runs, key=lambda run: id(run.point)):
        found += _Point(list(runs), metrics).results.values()
    return found


@lru_cache(maxsize=len(STUDIES))
def _shared(name: str) -> list[Result]:
    return results_of(STUDIES[name])


def example_results(name: str, metrics: Sequence[Metric] = ()) -> list[Result]:
    """The results of one of `STUDIES`, drawn once in a process; each call gives copies.

    Args:
        name: of the study.
        metrics: what is measured besides the metrics of the study.
    """
    return [_copied(result, metrics) for result in _shared(name)]


def _copied(result: Result, metrics: Sequence[Metric]) -> Result:
    """The same result with draws and measurements of its own, copied when they are asked for."""
    own = copy.copy(result)
    for loaded in ("samples", "measured"):
        vars(own).pop(loaded, None)

    def measured() -> dict[str, Array]:
        found = {name: array.copy(deep=True) for name, array in result.measured.items()}
        for metric in metrics:
            found |= metric.evaluate(subject_of(metric, result))
        return found

    own.load_samples = lambda: copy.deepcopy(result.samples)
    own.load_measured = measured
    return own


def subject_of(metric: Metric, result: Result) -> Result | PointResults | DataAndPrior:
    """What a metric is handed over of a result."""
    if metric.subject == "run":
        return result
    problem = result.problem
    if metric.subject == "data":
        return DataAndPrior(result.data, problem.prior, result.seed)
    results = {key: result.siblings[key] for key in metric.needs(tuple(result.siblings))}
    return PointResults(problem, result.data, result.truth, result.seed, results)


class _Point:
    """One point of a study, in memory."""

    def __init__(self, runs: Sequence[Run], metrics: Sequence[Metric]) -> None:
        self.runs, self.spec = runs, runs[0].point.spec
        self.metrics = (*self.spec.metrics, *metrics)

    @cached_property
    def common(self) -> Setup:
        data = load_data(self.spec)
        return build(self.spec, data, fit_prior(self.spec, data))

    def setup(self, run: Run) -> Setup:
        if run.prior_id == run.point.prior_id:
            return self.common
        data = load_data(run.spec)
        return rebuild(self.common, run.spec, data, fit_prior(run.spec, data))

    @cached_property
    def results(self) -> dict[str, Result]:
        results: dict[str, Result] = {}
        for run in self.runs:
            setup = self.setup(run)
            results[run.key] = Result(
                key=run.key,
                point=run.point.labels,
                sampler=run.sampler,
                problem=setup.problem,
                data=setup.data,
                truth=setup.truth if run.spec.calibration is None else None,
                seed=run.spec.seed,
                load_samples=lambda run=run, setup=setup: self._drawn(run, setup),  # type: ignore[misc]
                siblings=results,
                load_measured=lambda key=run.key: self._measured(results[key]),  # type: ignore[misc]
            )
        return results

    def _drawn(self, run: Run, setup: Setup) -> Samples:
        draws = Draws(run.spec, run.sampler, run.n)
        return draws.join([draws.draw(k, self.common, setup, silent) for k in range(draws.tiles)])

    def _measured(self, result: Result) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for metric in self.metrics:
            found |= metric.evaluate(subject_of(metric, result))
        return found


def studies_with(keys: Sequence[str]) -> Iterator[str]:
    """Names of the studies that have samplers of these names."""
    return (name for name, spec in STUDIES.items() if set(keys) <= spec["samplers"].keys())


__all__ = ["STUDIES", "example_results", "results_of", "studies_with", "subject_of"]
