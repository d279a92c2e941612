"""The shipped calibration studies, with fewer truths, through the command's own path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mempost
from mempost.core.noise import stack
from mempost.core.result import Result
from mempost.experiments.overrides import read_spec
from mempost.plugins.metrics.sbc import SimulationBasedCalibration

CONFIGS = Path(__file__).parents[2] / "configs"


def _by_name(study: object) -> dict[tuple[str, str], Result]:
    return {(r.point.get("prior", ""), r.key): r for r in study.results}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Result]:
    out = tmp_path_factory.mktemp("linear")
    spec = read_spec(CONFIGS / "calibration_linear.yaml")
    samplers = {key: spec["samplers"][key] for key in ("exact", "shifted")}
    spec |= {"samplers": samplers, "samples": 20, "calibration": {"truths": 96}}
    study = mempost.run(spec, out=out)
    assert study.ok
    figures = {path.stem for path in (out / "figures").glob("*.png")}
    assert figures == {f"{name}_{i}" for name in ("rank_ecdf", "coverage_curves") for i in range(3)}
    return _by_name(study)


def shifted_words(result: Result) -> str:
    return SimulationBasedCalibration().verdict([result])[0]


@pytest.mark.parametrize("prior", ["atoms", "mixture", "gaussian"])
def test_exact_draws_pass_and_shifted_ones_fail(
    linear: dict[tuple[str, str], Result], prior: str
) -> None:
    exact, shifted = (linear[prior, key].measured for key in ("exact", "shifted"))
    for name in ("sbc_p", "sbc_folded_p", "tarp_p"):
        assert exact[name] > 1e-4
    assert min(shifted["sbc_p"], shifted["sbc_folded_p"]) < 1e-4
    assert "truths lie" in shifted_words(linear[prior, "shifted"])


def test_atoms_tie_with_their_draws(linear: dict[tuple[str, str], Result]) -> None:
    """Truths and draws go through files and coordinates, and stay the same numbers."""
    samples = linear["atoms", "exact"].samples
    same = (samples.values == samples.truths[:, None]).all(-1)
    assert 0.2 < float(same.double().mean()) < 0.9


def test_data_are_those_of_the_truths(linear: dict[tuple[str, str], Result]) -> None:
    result = linear["mixture", "exact"]
    problem, samples = result.problem, result.samples
    z = (samples.data - stack(problem.forward(samples.truths))) / problem.noise.component_std
    assert z.shape == (96, 1)
    assert abs(float(z.mean())) < 4 / 96**0.5 and float(z.std()) == pytest.approx(1, abs=0.25)
    assert torch.equal(samples.data, linear["mixture", "shifted"].samples.data)


def test_log_determinant(tmp_path: Path) -> None:
    setting = {"calibration.truths": 250, "samples": 20}
    study = mempost.run(CONFIGS / "calibration_log_determinant.yaml", out=tmp_path, set=setting)
    found = {key: result.measured for (_, key), result in _by_name(study).items()}
    right, wrong = found["with_log_determinant"], found["without_log_determinant"]
    assert min(right["sbc_p"], right["sbc_folded_p"]) > 1e-4
    assert wrong["sbc_p"] < 1e-4
    assert sum("is calibrated" in sentence for sentence in study.verdicts) == 1


@pytest.mark.slow
def test_acceptance_with_a_thousand_truths(tmp_path: Path) -> None:
    linear = _by_name(mempost.run(CONFIGS / "calibration_linear.yaml", out=tmp_path / "linear"))
    dps = _by_name(mempost.run(CONFIGS / "calibration_dps.yaml", out=tmp_path / "dps"))
    for (_, key), result in [*linear.items(), *dps.items()]:
        p = min(result.measured["sbc_p"], result.measured["sbc_folded_p"])
        assert p > 1e-4 if key == "exact" else p < 1e-4
