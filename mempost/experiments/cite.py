"""The publications behind the plugins of a study."""

from __future__ import annotations

from mempost.core.identity import plugins_in
from mempost.core.plugin import Reference
from mempost.experiments.plan import Plan

MEMPOST = Reference(
    "siahkoohi2026memorization",
    "Ali Siahkoohi and Davide Sabeddu",
    "On the role of memorization in learned priors for geophysical inverse problems",
    2026,
    "https://arxiv.org/abs/2603.19629",
)


def references_of(plan: Plan) -> list[Reference]:
    """References of all plugins that a plan uses, the study's subject first, each once."""
    found = {MEMPOST.key: MEMPOST}
    for point in plan.points:
        spec = point.spec
        parts = [spec.data, spec.prior, spec.operator, spec.observation, spec.metrics, spec.figures]
        for plugin in plugins_in([*parts, spec.samplers]):
            found |= {r.key: r for r in type(plugin).references}
    return list(found.values())
