"""``provenance.json``: where the numbers of a run come from."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import torch

from mempost.core.identity import file_hashes, sources, versions
from mempost.experiments.plan import ROOTS, Run, parts_of


def provenance_of(run: Run, threads: int) -> dict[str, Any]:
    """What determined a run: resolved spec, seeds, files, versions; and the hardware."""
    spec, parts = run.spec, parts_of(run.point.spec, run.key)
    return {
        "id": run.id,
        "title": spec.title,
        "point": dict(run.point.labels),
        "sampler": run.key,
        "resolved": dict(run.resolved),
        "seeds": {"spec": spec.seed, "observation": spec.observation and spec.observation.seed},
        "files": file_hashes(parts),
        "versions": versions(parts, ROOTS),
        "sources": dict(sorted(sources(parts, ROOTS).items())),
        "hardware": hardware(threads),
    }


def hardware(threads: int) -> Mapping[str, Any]:
    """What the numbers were computed on."""
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "threads": threads,
        "cuda": cuda,
    }
