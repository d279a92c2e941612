"""``report.html``: one self-contained page that opens offline."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Any

from mempost import __version__
from mempost.core.identity import versions
from mempost.experiments.cite import publications_of
from mempost.experiments.report.tables import cell
from mempost.experiments.study import Study
from mempost.experiments.yamlio import dump_yaml


def write_page(study: Study) -> None:
    """Write the report of a study into its folder."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source = files("mempost.experiments.report").joinpath("template.html").read_text("utf-8")
    page = environment.from_string(source).render(**contents(study))
    study.store.write(study.store.path("report.html"), page.encode())


def contents(study: Study) -> dict[str, Any]:
    """Everything that the page shows."""
    statuses = study.statuses
    spec = study.plan.first
    provenances = [study.worker.records.provenance(run) or {} for run in study.plan.runs]
    pictures = {
        name: {"png": _encoded(study, name), "caption": picture.caption, "alt": picture.alt}
        for name, picture in study.figures.items()
    }
    return {
        "title": study.plan.title,
        "description": spec.description,
        "version": __version__,
        "runs": len(statuses),
        "ok": sum(s.state == "ok" for s in statuses),
        "failures": [
            (row, status.reason)
            for row, status in zip(study.rows, statuses, strict=True)
            if status.state == "failed"
        ],
        "pending": sum(s.state == "pending" for s in statuses),
        "errors": study.errors,
        "warnings": study.warnings,
        "verdicts": study.verdicts,
        "pictures": pictures,
        "short": {c: spec.table[c] for c in study.short_columns},
        "cell": cell,
        "table": study.rows,
        "columns": [c for c in study.columns if c not in ("status", "reason", "run")],
        "rows": [{k: _format(v) for k, v in row.items()} for row in study.rows],
        "spec": dump_yaml(dict(study.plan.raw)),
        "versions": versions(
            [spec.data, spec.prior, spec.operator, spec.noise, list(spec.samplers.values())]
        ),
        "hardware": next((p["hardware"] for p in provenances if p), {}),
        "costs": _costs(study, provenances),
        "publications": publications_of(study.plan),
    }


def _encoded(study: Study, name: str) -> str:
    return base64.b64encode(study.store.path("figures", f"{name}.png").read_bytes()).decode()


def _format(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.5g}"
    return str(value)


def _costs(study: Study, provenances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Wall time and counts of expensive operations, summed by sampler."""
    costs: dict[str, dict[str, Any]] = {}
    for run, kept in zip(study.plan.runs, provenances, strict=True):
        if kept:
            entry = costs.setdefault(run.key, {"sampler": run.key, "seconds": 0.0, "counts": {}})
            entry["seconds"] += kept["wall_time_s"]
            for name, amount in kept["counts"].items():
                entry["counts"][name] = entry["counts"].get(name, 0) + amount
    return list(costs.values())
