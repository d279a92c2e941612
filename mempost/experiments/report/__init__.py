"""The report of a study: tables, ``figures/`` and ``report.html``."""

from __future__ import annotations

import csv
import io
from typing import Any

from mempost.experiments.report.html import write_page
from mempost.experiments.report.pictures import write_figures
from mempost.experiments.report.tables import latex, markdown
from mempost.experiments.study import Study


def write_report(study: Study) -> None:
    """Write the table, the figures and the page."""
    write_table(study)
    write_figures(study.store, study.figures)
    write_page(study)


def write_table(study: Study) -> None:
    """Write ``table.csv``, and the columns of the spec's ``table`` as Markdown and LaTeX."""
    text = io.StringIO()
    writer = csv.DictWriter(text, study.columns, lineterminator="\n")
    writer.writeheader()
    for row in study.rows:
        writer.writerow({k: _cell(v) for k, v in row.items()})
    study.store.write(study.store.path("table.csv"), text.getvalue().encode())
    if names := study.plan.first.table:
        for ending, form in (("md", markdown), ("tex", latex)):
            short = form(study.rows, study.short_columns, names)
            study.store.write(study.store.path(f"table.{ending}"), short.encode())


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return value
