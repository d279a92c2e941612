"""What lies in an output folder and belongs to no run of its study any more.

A run is left over when its spec, its code or a file that it read has changed: it has another id
now. With it go its numbers, and what is kept (fitted priors, Jacobians), if runs that are left over
have used it and no run of the study has. What nothing is known of stays.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mempost.experiments.plan import DIGITS
from mempost.experiments.study import Study

_ID = re.compile(rf"[0-9a-f]{{{DIGITS}}}")


class Leftover(NamedTuple):
    """A file or folder of a store that its study does not name, what it is, and its bytes."""

    path: Path
    what: str
    size: int


def leftovers(study: Study) -> list[Leftover]:
    """All leftovers of a study: runs first, then numbers and what was kept."""
    store, plan = study.store, study.plan
    runs = {run.id for run in plan.runs}
    measured = {one.id for run in plan.runs for one in study.worker.measurements.of(run)}
    mine = [store.folder / "runs" / name for name in sorted(runs)]
    others = [p for p in _ids(store.folder / "runs") if p.name not in runs and p.is_dir()]
    found = [Leftover(path, _described(study, path), _size(path)) for path in others]
    for place in (store.folder / "measured", *(folder / "metrics" for folder in mine)):
        for path in _ids(place):
            if _id(path) not in measured and path.name.endswith((".safetensors", ".failed.json")):
                found.append(Leftover(path, "numbers of a metric", _size(path)))
    for name in sorted(_marks(others) - _marks(mine)):
        path = store.path("kept", f"{name}.safetensors")
        if path.is_file() and not path.is_symlink():
            found.append(Leftover(path, "kept", _size(path)))
    return found


def remove(items: Iterable[Leftover]) -> None:
    """Delete leftovers."""
    for item in items:
        if item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink()


def _described(study: Study, path: Path) -> str:
    """What is known of a run that no study names."""
    kept = study.store.read_or_none(study.store.read_json, path / "provenance.json")
    if kept is None:
        return "run that was not finished"
    labels = "".join(f", {name}={value}" for name, value in kept.get("point", {}).items())
    return f"run of {kept.get('sampler', 'a sampler')}{labels}"


def _ids(folder: Path) -> Iterator[Path]:
    """What is named by an id in a folder; links are somebody else's."""
    inside = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else ()
    plain = (p for p in inside if not p.is_symlink())
    return (p for p in plain if _ID.fullmatch(_id(p)))


def _id(path: Path) -> str:
    """The name of a folder; that of a file without its endings."""
    return path.name if path.is_dir() else path.name.partition(".")[0]


def _marks(owners: Iterable[Path]) -> set[str]:
    """Names of what runs and priors have used of what plugins keep."""
    return {mark.name for owner in owners for mark in owner.glob("kept/*")}


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files if not p.is_symlink())
