"""The publications behind the plugins of a study."""

from __future__ import annotations

from mempost.core.identity import plugins_in
from mempost.core.publication import Publication
from mempost.experiments.plan import Plan
from mempost.methods.bibliography import SIAHKOOHI_2026_MEMORIZATION as MEMPOST


def publications_of(plan: Plan) -> list[Publication]:
    """Publications of all plugins that a plan uses, the study's subject first, each once.

    A plugin within another one (a sampler's proposal, a data set's inner one) is one of them.
    """
    plugins = [plugin for point in plan.points for plugin in plugins_in(point.spec)]
    used = [p for plugin in plugins for p in type(plugin).publications]
    return list(dict.fromkeys([MEMPOST, *used]))
