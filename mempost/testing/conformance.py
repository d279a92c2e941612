"""Running the checks: generators by kind, one call for all of them, and plugins by name.

    for check in operator_checks(MyOperator()):
        print(check.name, check.outcome())

    check_operator(MyOperator(), shape=(8, 8))          raises with a report if a check fails

None of this needs pytest; `mempost.testing.parametrize_with_checks` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from mempost.core.dataset import Dataset
from mempost.core.errors import SpecError, nearest
from mempost.core.figure import Figure
from mempost.core.guidance import Guidance
from mempost.core.metric import Metric
from mempost.core.network import Network
from mempost.core.noise import NoiseRecipe
from mempost.core.operator import ForwardOperator, Shape
from mempost.core.plugin import Plugin
from mempost.core.prior import Prior
from mempost.core.problem import InverseProblem
from mempost.core.registry import KINDS, REGISTRIES
from mempost.core.result import Result
from mempost.core.sampler import PosteriorSampler
from mempost.core.schedule import NoiseSchedule
from mempost.core.solver import Solver
from mempost.testing.check import Catalogue, Check, Outcome, Report, run_checks
from mempost.testing.checks import (
    datasets,
    figures,
    guidances,
    metrics,
    networks,
    noises,
    operators,
    priors,
    samplers,
    schedules,
    solvers,
)
from mempost.testing.checks.operator_case import OperatorCase
from mempost.testing.checks.prior_case import PriorCase
from mempost.testing.checks.sampler_case import SamplerCase
from mempost.testing.examples import example_plugin

Expected = Mapping[str, str] | None


def _catalogue(kind: str) -> Catalogue[Any]:
    """The checks of a kind, from the modules that its row names."""
    modules = [importlib.import_module(f"mempost.testing.checks.{m}") for m in KINDS[kind].checks]
    return modules[0].CHECKS


CATALOGUES: dict[str, Catalogue[Any]] = {kind: _catalogue(kind) for kind in KINDS}
"""The checks of every kind."""


def prior_checks(
    prior: Prior, *, data: Tensor | None = None, expected_failed_checks: Expected = None
) -> Iterator[Check]:
    """The checks of a prior.

    Args:
        prior: the hyper-parameters.
        data: training data (N, *shape), float64; by default eight points in the plane.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return priors.CHECKS.checks(PriorCase(prior, data), expected_failed_checks)


def operator_checks(
    operator: ForwardOperator,
    *,
    shape: Shape | None = None,
    models: Tensor | None = None,
    expected_failed_checks: Expected = None,
) -> Iterator[Check]:
    """The checks of a forward operator.

    Args:
        operator: the operator.
        shape: shape of one model; by default its ``domain_shape``, or the first that it takes.
        models: models (batch, *shape) with batch >= 2, float64; by default those of the operator's
            ``example_models``.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    case = OperatorCase(operator, shape, models)
    return operators.CHECKS.checks(case, expected_failed_checks)


def sampler_checks(
    sampler: PosteriorSampler,
    *,
    problem: InverseProblem | None = None,
    expected_failed_checks: Expected = None,
) -> Iterator[Check]:
    """The checks of a posterior sampler.

    Args:
        sampler: the sampler, with as few steps as it needs on a problem in two dimensions.
        problem: a problem that it applies to, float64; by default the problems of
            `mempost.testing.examples` that its ``check`` does not refuse.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return samplers.CHECKS.checks(SamplerCase(sampler, problem), expected_failed_checks)


def noise_checks(
    noise: NoiseRecipe, *, data: Tensor | None = None, expected_failed_checks: Expected = None
) -> Iterator[Check]:
    """The checks of observation noise.

    Args:
        noise: the noise.
        data: data without noise that it takes, float64 or complex128; by default four numbers,
            or as many as an array of the recipe has.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return noises.CHECKS.checks(noises.NoiseCase(noise, data), expected_failed_checks)


def dataset_checks(
    dataset: Dataset, *, size_field: str = "n_train", expected_failed_checks: Expected = None
) -> Iterator[Check]:
    """The checks of a dataset.

    Args:
        dataset: the dataset.
        size_field: its field that holds the number of training examples, if it has one.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    case = datasets.DatasetCase(dataset, size_field)
    return datasets.CHECKS.checks(case, expected_failed_checks)


def schedule_checks(
    schedule: NoiseSchedule, *, expected_failed_checks: Expected = None
) -> Iterator[Check]:
    """The checks of a noise schedule.

    Args:
        schedule: the schedule.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return schedules.CHECKS.checks(schedules.ScheduleCase(schedule), expected_failed_checks)


def network_checks(
    network: Network,
    *,
    shape: tuple[int, ...] | None = None,
    expected_failed_checks: Expected = None,
) -> Iterator[Check]:
    """The checks of a network.

    Args:
        network: the network, as small as it can be.
        shape: shape of one x; by default the first that it takes.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return networks.CHECKS.checks(networks.NetworkCase(network, shape), expected_failed_checks)


def guidance_checks(
    guidance: Guidance,
    *,
    problem: InverseProblem | None = None,
    expected_failed_checks: Expected = None,
) -> Iterator[Check]:
    """The checks of a guidance.

    Args:
        guidance: the guidance.
        problem: a problem that it applies to, float64; by default the problems of
            `mempost.testing.examples` that its ``check`` does not refuse.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return guidances.CHECKS.checks(
        guidances.GuidanceCase(guidance, problem), expected_failed_checks
    )


def solver_checks(solver: Solver, *, expected_failed_checks: Expected = None) -> Iterator[Check]:
    """The checks of a solver.

    Args:
        solver: the solver.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return solvers.CHECKS.checks(solvers.SolverCase(solver), expected_failed_checks)


def metric_checks(
    metric: Metric,
    *,
    results: Sequence[Result] | None = None,
    expected_failed_checks: Expected = None,
) -> Iterator[Check]:
    """The checks of a metric.

    Args:
        metric: the metric.
        results: what it measures; by default one sweep point of each of the example studies
            (`mempost.testing.studies`) that have the samplers it needs.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    return metrics.CHECKS.checks(metrics.MetricCase(metric, results), expected_failed_checks)


def figure_checks(
    figure: Figure,
    *,
    results: Sequence[Result] | None = None,
    measure: Sequence[Metric] = (),
    expected_failed_checks: Expected = None,
) -> Iterator[Check]:
    """The checks of a figure.

    Args:
        figure: the figure.
        results: what it draws; by default the first of the example studies
            (`mempost.testing.studies`) that it does not refuse.
        measure: metrics whose measurements it draws, besides those of the example studies.
        expected_failed_checks: names of checks that are known to fail, and why.
    """
    case = figures.FigureCase(figure, results, measure)
    return figures.CHECKS.checks(case, expected_failed_checks)


def check_prior(
    prior: Prior, *, data: Tensor | None = None, expected_failed_checks: Expected = None
) -> Report:
    """Run `prior_checks`; raise `ConformanceError` with the report if one fails."""
    return run_checks(
        prior, prior_checks(prior, data=data, expected_failed_checks=expected_failed_checks)
    )


def check_operator(
    operator: ForwardOperator,
    *,
    shape: Shape | None = None,
    models: Tensor | None = None,
    expected_failed_checks: Expected = None,
) -> Report:
    """Run `operator_checks`; raise `ConformanceError` with the report if one fails."""
    checks = operator_checks(
        operator, shape=shape, models=models, expected_failed_checks=expected_failed_checks
    )
    return run_checks(operator, checks)


def check_sampler(
    sampler: PosteriorSampler,
    *,
    problem: InverseProblem | None = None,
    expected_failed_checks: Expected = None,
) -> Report:
    """Run `sampler_checks`; raise `ConformanceError` with the report if one fails."""
    checks = sampler_checks(sampler, problem=problem, expected_failed_checks=expected_failed_checks)
    return run_checks(sampler, checks)


def check_noise(
    noise: NoiseRecipe, *, data: Tensor | None = None, expected_failed_checks: Expected = None
) -> Report:
    """Run `noise_checks`; raise `ConformanceError` with the report if one fails."""
    checks = noise_checks(noise, data=data, expected_failed_checks=expected_failed_checks)
    return run_checks(noise, checks)


def check_dataset(
    dataset: Dataset, *, size_field: str = "n_train", expected_failed_checks: Expected = None
) -> Report:
    """Run `dataset_checks`; raise `ConformanceError` with the report if one fails."""
    checks = dataset_checks(
        dataset, size_field=size_field, expected_failed_checks=expected_failed_checks
    )
    return run_checks(dataset, checks)


def check_schedule(schedule: NoiseSchedule, *, expected_failed_checks: Expected = None) -> Report:
    """Run `schedule_checks`; raise `ConformanceError` with the report if one fails."""
    checks = schedule_checks(schedule, expected_failed_checks=expected_failed_checks)
    return run_checks(schedule, checks)


def check_network(
    network: Network,
    *,
    shape: tuple[int, ...] | None = None,
    expected_failed_checks: Expected = None,
) -> Report:
    """Run `network_checks`; raise `ConformanceError` with the report if one fails."""
    checks = network_checks(network, shape=shape, expected_failed_checks=expected_failed_checks)
    return run_checks(network, checks)


def check_guidance(
    guidance: Guidance,
    *,
    problem: InverseProblem | None = None,
    expected_failed_checks: Expected = None,
) -> Report:
    """Run `guidance_checks`; raise `ConformanceError` with the report if one fails."""
    checks = guidance_checks(
        guidance, problem=problem, expected_failed_checks=expected_failed_checks
    )
    return run_checks(guidance, checks)


def check_solver(solver: Solver, *, expected_failed_checks: Expected = None) -> Report:
    """Run `solver_checks`; raise `ConformanceError` with the report if one fails."""
    return run_checks(solver, solver_checks(solver, expected_failed_checks=expected_failed_checks))


def check_metric(
    metric: Metric,
    *,
    results: Sequence[Result] | None = None,
    expected_failed_checks: Expected = None,
) -> Report:
    """Run `metric_checks`; raise `ConformanceError` with the report if one fails."""
    checks = metric_checks(metric, results=results, expected_failed_checks=expected_failed_checks)
    return run_checks(metric, checks)


def check_figure(
    figure: Figure,
    *,
    results: Sequence[Result] | None = None,
    measure: Sequence[Metric] = (),
    expected_failed_checks: Expected = None,
) -> Report:
    """Run `figure_checks`; raise `ConformanceError` with the report if one fails."""
    checks = figure_checks(
        figure, results=results, measure=measure, expected_failed_checks=expected_failed_checks
    )
    return run_checks(figure, checks)


def checks_for(plugin: object, expected_failed_checks: Expected = None) -> Iterator[Check]:
    """The checks of an instance of any kind, with default inputs."""
    for kind, registry in REGISTRIES.items():
        if isinstance(plugin, registry.base):
            catalogue = CATALOGUES[kind]
            return catalogue.checks(catalogue.case(plugin), expected_failed_checks)
    raise TypeError(f"{plugin!r} is no plugin: give an instance, or a name such as 'operator:mask'")


def plugin_named(name: str, hyper: Mapping[str, Any] | None = None) -> Plugin:
    """An example instance of a registered plugin, ``kind:name``, or ``name`` where it is unique.

    Raises:
        SpecError: no such plugin, more than one of the name, or no example of it.
        PluginError: the plugin is broken.
    """
    kind, colon, rest = name.rpartition(":")
    kinds = [k for k in REGISTRIES if rest in REGISTRIES[k].names and (not colon or k == kind)]
    if colon and kind not in REGISTRIES:
        raise SpecError(
            f"no kind of plugin is named {kind!r}; allowed are {', '.join(REGISTRIES)}."
            + nearest(kind, REGISTRIES)
        )
    if len(kinds) > 1:
        choices = ", ".join(f"{k}:{rest}" for k in kinds)
        raise SpecError(f"{rest!r} names several plugins: {choices}")
    if not kinds:
        known = [n for k in REGISTRIES if not colon or k == kind for n in REGISTRIES[k].names]
        what = kind if colon else "plugin"
        raise SpecError(f"no {what} is named {rest!r}.{nearest(rest, known)}")
    return example_plugin(REGISTRIES[kinds[0]].get(rest), hyper)


def check_plugin(kind: str, name: str, hyper: Mapping[str, Any] | None = None) -> list[Outcome]:
    """Run the checks of a registered plugin and return their outcomes; nothing is raised for them.

    Args:
        kind: one of `mempost.core.registry.KINDS`.
        name: the registered name.
        hyper: hyper-parameters; others come from defaults and from the fields' examples.

    Raises:
        SpecError: there is no such plugin, or a required field has no value and no example.
        PluginError: the plugin is broken.
    """
    plugin = plugin_named(f"{kind}:{name}", hyper)
    return [check.outcome() for check in checks_for(plugin)]
