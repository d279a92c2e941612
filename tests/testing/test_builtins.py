"""Every plugin that mempost registers passes the public checks of its kind and tags."""

import importlib.util

import numpy as np
import pytest

from mempost.core.registry import REGISTRIES
from mempost.plugins.datasets.file import File
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights
from mempost.testing import (
    CheckFailedError,
    check_dataset,
    check_plugin,
    examples,
    parametrize_with_checks,
    plugin_named,
    sampler_checks,
)

VARIANTS = {
    "prior:empirical_gmm": [{"bandwidth": 0.0}, {"standardise": True}],
    "prior:gaussian": [{"standardise": True}],
    "prior:tikhonov": [
        {"directions": "covariance", "c": 0.3},
        {"c": {"type": "power", "c": 0.1, "exponent": 1.0}, "standardise": True},
        {"c": {"type": "preserving", "c": 0.1, "sigma_max": 20.0}},
        {"base": {"type": "empirical_gmm", "bandwidth": 0.3}},
    ],
    "prior:empirical_bayes": [{"base": {"type": "empirical_gmm", "bandwidth": 0.3}, "tau": 2.0}],
    "prior:smoothed": [{"base": {"type": "empirical_gmm", "bandwidth": 0.3}}],
    "operator:mask": [{"shape": [7], "keep": [6, 0, 3], "pattern": None}],
    "operator:blur": [{"boundary": "zero", "width": 2.0}, {"boundary": "periodic"}],
    "operator:polynomial": [{"coefficients": [0.5, -2.0]}],
    "operator:linear": [{"matrix": {"real": [[1.0, 0.5]], "imag": [[0.2, -1.0]]}, "offset": [1.0]}],
    "sampler:dps": [
        {"rule": "residual_norm"},
        {"rule": "unit_gradient"},
        {"rule": {"type": "unit_gradient", "second_call": "new_level"}, "solver": "heun"},
    ],
    "sampler:gauss_newton_dps": [{"linearisation": "jacobian", "solver": "euler_maruyama"}],
    "sampler:finite_sample_weights": [{"bandwidth": 0.3}],
    "sampler:reverse_diffusion": [
        {"solver": "heun"},
        {"solver": {"type": "ddim", "eta": 1.0}, "start": "noise"},
    ],
    "guidance:pigdm": [{"variance": "ratio"}],
    "guidance:gauss_newton": [{"linearisation": "jacobian"}, {"covariance": "isotropic"}],
    "guidance:unit_gradient": [{"second_call": "new_level", "jacobian": "exact"}],
    "solver:ddim": [{"eta": 1.0}],
    "noise:gaussian": [
        {"std": None, "relative_to_max": 0.1},
        {"std": [0.1, 1.0, 0.4]},
        {"std": None, "covariance": [[1.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 0.3]]},
        {"std": None, "factor": {"real": [[1, 0], [2, 1]], "imag": [[0, 1], [1, 0]]}},
    ],
    "noise:poisson": [{"gain": [0.5, 2.0, 1.0], "background": 0.7}],
    "noise:student_t": [{"scale": [0.5, 2.0], "nu": 1.5}],
    "network:mlp": [{"activation": "silu", "hidden": 1}],
    "network:unet_1d": [{"channels": [4, 6, 8], "kernel": 3}],
    "schedule:vp_discrete": [{"betas": [0.1, 0.3, 0.2]}],
    "schedule:flow_matching": [{"t_max": 0.5}],
}
"""Hyper-parameters, beside the examples of the fields, under which the checks are run too."""

OWN = [
    f"{kind}:{name}"
    for kind, registry in REGISTRIES.items()
    for name in registry.names
    if registry.entry(name).distribution == "mempost"
]
WITHOUT_EXAMPLE = {"dataset:file", "operator:helmholtz"}  # checked in tests/helmholtz, with models
if importlib.util.find_spec("diffusers") is None:
    WITHOUT_EXAMPLE |= {"network:unet_2d"}


def plugins(kind):
    for name in OWN:
        if name.startswith(f"{kind}:") and name not in WITHOUT_EXAMPLE:
            for hyper in [{}, *VARIANTS.get(name, [])]:
                yield plugin_named(name, hyper)


@parametrize_with_checks(plugins("prior"))
def test_priors(check):
    check()


@parametrize_with_checks(plugins("operator"))
def test_operators(check):
    check()


@parametrize_with_checks(plugins("sampler"))
def test_samplers(check):
    check()


@parametrize_with_checks(plugins("dataset"))
def test_datasets(check):
    check()


@parametrize_with_checks(plugins("schedule"))
def test_schedules(check):
    check()


@parametrize_with_checks(plugins("guidance"))
def test_guidances(check):
    check()


@parametrize_with_checks(plugins("solver"))
def test_solvers(check):
    check()


@parametrize_with_checks(plugins("network"))
def test_networks(check):
    check()


@parametrize_with_checks([*plugins("metric"), *plugins("figure")])
def test_metrics_and_figures(check):
    check()


@parametrize_with_checks(plugins("noise"))
def test_noises(check):
    check()


def test_the_file_dataset(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 2)))
    check_dataset(File(path=tmp_path / "x.npy", n_train=20, n_held_out=5))


def test_check_by_name_needs_no_pytest():
    outcomes = check_plugin("operator", "identity")
    assert all(outcome.ok for outcome in outcomes)
    assert {"dot_test", "taylor_slope", "superposition"} <= {outcome.name for outcome in outcomes}


# -- methods that are exact in some problems only, held to it there -------------------------------


class LinearOnly(ExactLGM):
    """The linearised mixture, called exact: the problems of the check are linear."""

    tags = ExactLGM.tags | {"exact"}


class AtomsOnly(FiniteSampleWeights):
    """Likelihood weights of the training examples, called exact."""

    tags = FiniteSampleWeights.tags | {"exact"}


def test_preconditioned_chains_are_exact_and_name_a_divergence():
    sampler = plugin_named("sampler:mala", {"step_size": 0.1, "preconditioner": "gauss_newton"})
    named("divergence_named", sampler)()
    named("exact_posterior", sampler)()


def named(name, sampler, **options):
    return {check.name: check for check in sampler_checks(sampler, **options)}[name]


@pytest.mark.parametrize("name", ["exact_posterior", "posterior_in_closed_form"])
def test_the_linearised_mixture_is_exact_with_its_log_determinant_alone(name):
    named(name, LinearOnly())()
    with pytest.raises(CheckFailedError, match="'mixture'"):
        named(name, LinearOnly(log_determinant=False))()


def test_likelihood_weights_are_exact_for_atoms():
    named("exact_posterior", AtomsOnly(), problem=examples.atomic_problem())()
