"""Conformance checks for plugins, and hypothesis strategies for their tests.

The checks are named functions that follow from a plugin's kind and tags; see `conformance`.
Strategies are in `mempost.testing.strategies`, which needs hypothesis; the decorator needs pytest.
Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "Check": "check",
    "CheckFailedError": "check",
    "ConformanceError": "check",
    "NotApplicable": "check",
    "Outcome": "check",
    "Report": "check",
    "check_dataset": "conformance",
    "check_guidance": "conformance",
    "check_figure": "conformance",
    "check_metric": "conformance",
    "check_network": "conformance",
    "check_noise": "conformance",
    "check_operator": "conformance",
    "check_plugin": "conformance",
    "check_prior": "conformance",
    "check_sampler": "conformance",
    "check_schedule": "conformance",
    "check_solver": "conformance",
    "checks_for": "conformance",
    "dataset_checks": "conformance",
    "guidance_checks": "conformance",
    "figure_checks": "conformance",
    "metric_checks": "conformance",
    "network_checks": "conformance",
    "noise_checks": "conformance",
    "operator_checks": "conformance",
    "plugin_named": "conformance",
    "prior_checks": "conformance",
    "sampler_checks": "conformance",
    "schedule_checks": "conformance",
    "solver_checks": "conformance",
    "parametrize_with_checks": "parametrize",
    "new_package": "scaffold",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"mempost.testing.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'mempost.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
