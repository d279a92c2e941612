"""What the finite-sample lens has measured, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mempost.core.measured import Array
from mempost.core.result import Result

Arrays = Mapping[str, Array]


class Thresholds(NamedTuple):
    """Errors that count as none and as mild, and the exact mass under which a mode is wrong."""

    agreement: float
    mild: float
    mass: float


def sentence(result: Result, thresholds: Thresholds) -> str | None:
    """One sentence on one sampler at one point; None where it has no trace."""
    found = result.measured
    if "spread_exact" not in found:
        return None
    parts = [_on_spread(found, thresholds), *_on_bias(found, thresholds)]
    parts += _on_masses(found, thresholds)
    where = ", ".join(f"{_name(path)} = {value}" for path, value in result.point.items())
    return f"{where + ': ' if where else ''}{result.key} {'; '.join(parts)}."


def _name(path: str) -> str:
    return "y" if path == "observation.values" else path.rpartition(".")[2]


def _on_spread(found: Arrays, at: Thresholds) -> str:
    errors = found["spread"] - found["spread_exact"]
    worst = int(abs(errors).values.argmax())
    error, t = float(errors[worst]), float(errors["level"][worst])
    spread, exact = float(found["spread"][worst]), float(found["spread_exact"][worst])
    shown = f"spread {spread:.2f} where {exact:.2f} is exact, at t = {t:g}"
    if abs(error) <= at.agreement:
        return f"keeps the spread at every level (to {abs(error):.3f})"
    direction = "over" if error > 0 else "under"
    if abs(error) > at.mild:
        return f"{direction}-spreads ({shown})"
    if float(found["bias"].max()) > at.mild:
        return f"{direction}-spreads a little ({shown})"
    return f"is mild, it {direction}-spreads a little at worst ({shown})"


def _on_bias(found: Arrays, at: Thresholds) -> list[str]:
    worst = found["bias"][int(found["bias"].values.argmax())]
    bias, t = float(worst), float(worst["level"])
    return [f"its mean is off by {bias:.2f} at t = {t:g}"] if bias > at.mild else []


def _on_masses(found: Arrays, at: Thresholds) -> list[str]:
    said = []
    wrong, allowed, off = (
        float(found.get(name, 0.0))
        for name in ("hallucinated_mass", "hallucinated_mass_exact", "off_atom_mass")
    )
    if wrong - allowed >= 0.01:
        beside = f", {allowed:.1%} is exact" if allowed >= 0.001 else ""
        said.append(
            f"it puts {wrong:.1%} of its mass on wrong modes (exact mass below {at.mass:g}{beside})"
        )
    if "mass" in found:
        moved = float(abs(found["mass"] - found["mass_exact"]).sum()) / 2
        if moved >= 0.05 and moved > 1.5 * wrong:
            said.append(f"it misplaces {moved:.1%} of the mass between modes")
    if off >= 0.05:
        said.append(f"{off:.1%} of its draws are near no atom")
    return said
