"""What the columns of the finite-sample lens say in words."""

from __future__ import annotations

from typing import NamedTuple

from mempost.core.result import Result


class Thresholds(NamedTuple):
    """Errors that count as none and as mild, and the exact mass under which a mode is wrong."""

    agreement: float
    mild: float
    mass: float


def sentence(result: Result, thresholds: Thresholds) -> str | None:
    """One sentence on one sampler at one point; None where it has no trace."""
    columns = result.metrics
    errors = {
        name.removeprefix("spread_exact_"): columns["spread_" + name.removeprefix("spread_exact_")]
        - exact
        for name, exact in columns.items()
        if name.startswith("spread_exact_")
    }
    if not errors:
        return None
    parts = [_on_spread(columns, errors, thresholds), *_on_bias(columns, errors, thresholds)]
    parts += _on_masses(columns, thresholds)
    where = ", ".join(f"{_name(path)} = {value}" for path, value in result.point.items())
    return f"{where + ': ' if where else ''}{result.key} {'; '.join(parts)}."


def _name(path: str) -> str:
    return "y" if path == "observation.values" else path.rpartition(".")[2]


def _on_spread(columns: dict[str, float], errors: dict[str, float], at: Thresholds) -> str:
    t = max(errors, key=lambda t: abs(errors[t]))
    found, exact = columns[f"spread_{t}"], columns[f"spread_exact_{t}"]
    shown = f"spread {found:.2f} where {exact:.2f} is exact, at t = {t}"
    if abs(errors[t]) <= at.agreement:
        return f"keeps the spread at every level (to {abs(errors[t]):.3f})"
    direction = "over" if errors[t] > 0 else "under"
    if abs(errors[t]) > at.mild:
        return f"{direction}-spreads ({shown})"
    if max(columns[f"bias_{t}"] for t in errors) > at.mild:
        return f"{direction}-spreads a little ({shown})"
    return f"is mild, it {direction}-spreads a little at worst ({shown})"


def _on_bias(columns: dict[str, float], errors: dict[str, float], at: Thresholds) -> list[str]:
    t = max(errors, key=lambda t: columns[f"bias_{t}"])
    bias = columns[f"bias_{t}"]
    return [f"its mean is off by {bias:.2f} at t = {t}"] if bias > at.mild else []


def _on_masses(columns: dict[str, float], at: Thresholds) -> list[str]:
    said = []
    wrong, allowed = (columns.get(f"hallucinated_mass{end}", 0.0) for end in ("", "_exact"))
    if wrong - allowed >= 0.01:
        beside = f", {allowed:.1%} is exact" if allowed >= 0.001 else ""
        said.append(
            f"it puts {wrong:.1%} of its mass on wrong modes (exact mass below {at.mass:g}{beside})"
        )
    exact = {k: v for k, v in columns.items() if k.startswith("mass_exact_")}
    moved = sum(abs(columns[k.replace("exact_", "")] - v) for k, v in exact.items()) / 2
    if moved >= 0.05 and moved > 1.5 * wrong:
        said.append(f"it misplaces {moved:.1%} of the mass between modes")
    off = columns.get("off_atom_mass", 0.0)
    if off >= 0.05:
        said.append(f"{off:.1%} of its draws are near no atom")
    return said
