"""The smallest study: two points, the identity, the exact posterior."""

from pathlib import Path
from typing import Any

from mempost.experiments.yamlio import dump_yaml

SPEC: dict[str, Any] = {
    "title": "small",
    "data": {"type": "points", "values": [[-1.5], [2.5]]},
    "prior": {"type": "empirical_gmm", "bandwidth": 0.5},
    "operator": {"type": "identity"},
    "noise": {"std": 0.3},
    "observation": {"values": [0.0]},
    "samplers": {"exact": {"type": "exact_lgm"}},
    "samples": 8,
    "metrics": [{"type": "moments"}],
}


def write(folder: Path, spec: dict[str, Any], name: str = "s.yaml") -> Path:
    """A spec file in a folder."""
    path = folder / name
    path.write_text(dump_yaml(spec), encoding="utf-8")
    return path
