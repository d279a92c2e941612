"""The studies as they ship, at a small size: kept Jacobians, resuming, columns and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import mempost
from mempost.benchmarks import mixture as bench
from mempost.core.memory import memory

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL: dict[str, Any] = {
    "data.dataset.n_train": 6,
    "data.dataset.n_held_out": 2,
    "data.dataset.n": 16,
    "data.operator.shape": [16, 16],
    "data.operator.modes": [3, 3],
    "operator.0.shape": [14, 14],
    "operator.0.spacing": 0.06,
    "operator.0.frequencies": [4.0],
    "operator.0.pml_width": 0.3,
    "operator.0.sources": [[0.1, 0.08], [0.6, 0.08]],
    "operator.0.receivers": {"start": [0.08, 0.76], "stop": [0.76, 0.76], "number": 8},
    "operator.1.shape": [14, 14],
    "operator.1.modes": [3, 3],
    "samples": 64,
}


def kept(folder: Path, kind: str) -> set[str]:
    return {path.name for path in (folder / "kept").glob(f"{kind}-*")}


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Data from the prior, two bandwidths."""
    out = tmp_path_factory.mktemp("fwi_exact")
    settings = {
        "observation": {"truth": {"type": "prior"}},
        "sweep": {"prior.bandwidth": [0.03, 0.3]},
        "samplers.importance.population": 64,
        "samplers.importance_at_modes.population": 64,
        "samplers.lgm.slices": 2,
        "samplers.lgm_at_modes.slices": 2,
        "figures.1.coordinates": [0, 4],
    }
    return mempost.run(CONFIGS / "fwi_exact.yaml", set={**SMALL, **settings}, out=out)


def test_the_exact_study(exact: Any) -> None:
    assert [status.state for status in exact.statuses] == 10 * ["ok"]
    assert exact.errors == []
    table = exact.table.set_index(["prior.bandwidth", "sampler"])
    narrow, wide = table.loc[0.03], table.loc[0.3]
    assert narrow.loc["lgm", "linearisation_residual"] < wide.loc["lgm", "linearisation_residual"]
    assert narrow.loc["importance", "ess_share"] > 0.5
    assert wide.loc["importance_at_modes", "ess_share"] > wide.loc["importance", "ess_share"]
    assert any("linearisation holds for lgm" in said for said in exact.verdicts)
    pictures = {path.stem for path in (exact.store.folder / "figures").glob("*.png")}
    assert {"mixture_means_lgm", "mixture_means_lgm_at_modes", "marginals_0"} <= pictures


def test_jacobians_are_kept_for_all_samplers_bandwidths_and_data(
    exact: Any, tmp_path: Path
) -> None:
    folder = exact.store.folder
    jacobians, searches = kept(folder, "jacobian"), kept(folder, "map")
    assert len(jacobians) == 1 and len(searches) == 2  # one block; a search for each bandwidth
    memory().forget()
    settings = {
        "observation": {"truth": {"type": "prior", "index": 1}, "seed": 3},
        "sweep": {},
        "prior.bandwidth": 0.07,
        "samplers": {"lgm": {"type": "exact_lgm", "slices": 2}},
        "metrics": [],
        "figures": [],
    }
    again = mempost.run(CONFIGS / "fwi_exact.yaml", set={**SMALL, **settings}, out=folder)
    assert [status.state for status in again.statuses] == ["ok"]
    assert kept(folder, "jacobian") == jacobians


def test_the_study_of_collapse(tmp_path: Path) -> None:
    settings = {
        "sweep": {"data.dataset.n_train": [4, 6]},
        "zip": {
            "prior.bandwidth": [0.01, 0.1, 1.0, 0.05, 0.05],
            "noise.relative_to_max": [0.05, 0.05, 0.05, 0.5, 5.0],
        },
    }
    study = mempost.run(CONFIGS / "fwi_collapse.yaml", set={**SMALL, **settings}, out=tmp_path)
    assert study.errors == [] and all(status.state == "ok" for status in study.statuses)
    assert list(study.figures) == ["collapse_curves_lgm"]
    table = study.table
    assert (table["separation_noise"] > 0).all()
    assert table.groupby("data.dataset.n_train")["effective_number"].max().between(1, 6.001).all()
    assert len(kept(tmp_path, "jacobian")) == 2


def test_the_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    import json

    monkeypatch.setattr(bench, "M", 60)
    monkeypatch.setattr(bench, "D", 8)
    bench.large_row(5)
    row = json.loads(capsys.readouterr().out)
    assert row["error"] < 1e-10
    assert row["ratio"] > 0 and row["peak_mib"] > 10
    assert bench._further_data(3)["seconds"] > 0
    problem = bench._problem(2)
    x = problem.prior.means  # type: ignore[attr-defined]
    closed = problem.operator.jacobian(x)[1]
    automatic = super(bench.Warped, problem.operator).jacobian(x)[1]
    torch.testing.assert_close(closed, automatic)
