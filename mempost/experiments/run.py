"""From a spec to a study: read, plan, check, run, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mempost.core.arrays import FrozenArray
from mempost.core.cautions import collecting
from mempost.core.errors import SpecError
from mempost.core.fields import PluginField
from mempost.core.identity import versions
from mempost.core.plugin import Plugin
from mempost.core.registry import REGISTRIES
from mempost.experiments.claim import claimed
from mempost.experiments.overrides import point_name, read_spec, set_path
from mempost.experiments.plan import Plan, make_plan
from mempost.experiments.preflight import preflight
from mempost.experiments.report import write_report, write_table
from mempost.experiments.runner import Watcher, execute
from mempost.experiments.store import Store
from mempost.experiments.study import Study


def load(
    spec: str | Path | Mapping[str, Any],
    set: Mapping[str, Any] | None = None,
) -> tuple[Plan, Path | None]:
    """Plan a study from a file or a mapping, with overrides; also the folder of its files.

    Raises:
        SpecError: where the spec is wrong, and what is allowed.
    """
    if isinstance(spec, Mapping):
        raw, where, folder = _plain(spec), "spec", None
    else:
        raw, where, folder = read_spec(Path(spec)), str(spec), Path(spec).resolve().parent
    for path, value in (set or {}).items():
        raw = set_path(raw, path, _plain(value))
    return make_plan(raw, where, folder), folder


def check(plan: Plan, where: str) -> None:
    """Check that the pieces of every distinct problem fit together, before any work."""
    seen: set[Any] = set()
    for point in plan.points:
        key = (point.problem_id, tuple(point.spec.samplers.values()))
        if key not in seen:
            at = point_name(point.labels)
            seen.add(key)
            preflight(point.spec, f"{where} at {at}" if at else where)


def run(
    spec: str | Path | Mapping[str, Any],
    *,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    workers: int = 1,
    threads: int = 1,
    watcher: Watcher | None = None,
) -> Study:
    """Run a spec; finished runs are not run again.

    Args:
        spec: a YAML file, or the same as a mapping (plugin instances are accepted).
        set: values by dotted path, as ``--set`` on the command line.
        out: output folder; ``results/<name of the spec>`` if not given.
        workers: local processes. The numbers do not depend on it.
        threads: threads of linear algebra a process; sums may change in the last bit with it.
        watcher: sees the progress.

    Raises:
        SpecError: the spec is wrong.
    """
    plan, folder = load(spec, set)
    name = "study" if isinstance(spec, Mapping) else Path(spec).stem
    with collecting() as said:
        check(plan, "spec" if isinstance(spec, Mapping) else str(spec))
    if workers < 1 or threads < 1:
        raise SpecError(f"workers and threads are integers from 1, found {workers} and {threads}")
    if workers > 1 and "local" in versions([point.spec for point in plan.points]):
        raise SpecError(
            "workers see plugins with an entry point only, and this spec uses one that was "
            "registered in this process: take workers=1, or `mempost new` makes a package for it"
        )
    store = Store(Path(out) if out is not None else Path("results") / name)
    with claimed(store):
        study = Study(plan, store, threads, folder, tuple(said))
        study.remember()
        try:
            execute(study.worker, workers, folder, watcher or Watcher())
        finally:
            write_table(study)
        write_report(study)
    return study


def _plain(value: Any) -> Any:
    """Plain data, with plugin instances written as ``{type: NAME, ...}``."""
    if isinstance(value, Plugin):
        for kind, registry in REGISTRIES.items():
            if isinstance(value, registry.base):
                return PluginField(kind).dump(value)
    if isinstance(value, FrozenArray):
        return value.dump()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, tensors
        return FrozenArray(value).tolist() if "complex" in str(value.dtype) else value.tolist()
    return str(value) if isinstance(value, Path) else value
