"""The shipped study of three atoms reproduces its reference table, and says so in words."""

from __future__ import annotations

from pathlib import Path

import pytest

import mempost

CONFIG = Path(__file__).parents[2] / "configs" / "lens_three_atoms.yaml"
TIMES = (0.6, 0.4, 0.3, 0.2, 0.1, 0.05)
TABLE = {
    -1.8: {
        "finite_sample": ((0.987, 0.896, 0.772, 0.574, 0.311, 0.161), (1.0, 0.0, 0.0)),
        "sigma_dps": ((0.603, 0.600, 0.573, 0.483, 0.297, 0.160), (1.0, 0.0, 0.0)),
        "zeta_dps": ((0.842, 0.584, 0.533, 0.449, 0.291, 0.159), (1.0, 0.0, 0.0)),
        "pigdm_ratio": ((1.022, 1.093, 1.049, 0.865, 0.784, 0.764), (0.9034, 0.0769, 0.0197)),
        "pigdm_variance": ((0.931, 0.686, 0.616, 0.496, 0.300, 0.165), (0.9996, 0.0004, 0.0)),
        "tmpd": ((0.988, 0.903, 0.785, 0.600, 0.388, 0.297), (0.9833, 0.0167, 0.0)),
    },
    -1.0: {
        "finite_sample": ((0.988, 0.901, 0.784, 0.600, 0.373, 0.268), (0.9881, 0.0119, 0.0)),
        "sigma_dps": ((0.565, 0.389, 0.305, 0.220, 0.267, 0.339), (0.9571, 0.0429, 0.0)),
        "zeta_dps": ((0.701, 0.219, 0.177, 0.158, 0.421, 0.700), (0.7988, 0.2012, 0.0)),
        "pigdm_ratio": ((1.022, 1.098, 1.089, 0.975, 0.998, 1.052), (0.6749, 0.2926, 0.0325)),
        "pigdm_variance": ((0.940, 0.731, 0.661, 0.631, 0.603, 0.570), (0.9060, 0.0939, 0.0001)),
        "tmpd": ((0.989, 0.908, 0.807, 0.685, 0.764, 0.874), (0.6872, 0.3125, 0.0003)),
    },
    -0.8: {
        "finite_sample": ((1.001, 1.003, 1.000, 1.000, 0.999, 1.001), (0.5, 0.5, 0.0)),
        "sigma_dps": ((0.550, 0.298, 0.209, 0.124, 0.163, 0.725), (0.5022, 0.4978, 0.0)),
        "zeta_dps": ((0.521, 0.185, 0.151, 0.136, 0.476, 0.865), (0.5008, 0.4992, 0.0)),
        "pigdm_ratio": ((1.022, 1.099, 1.096, 0.990, 1.004, 1.070), (0.4522, 0.5105, 0.0373)),
        "pigdm_variance": ((0.941, 0.742, 0.669, 0.658, 0.742, 0.874), (0.6011, 0.3986, 0.0003)),
        "tmpd": ((0.989, 0.909, 0.810, 0.692, 0.800, 0.937), (0.5061, 0.4933, 0.0006)),
    },
}
EXACT = {
    -1.8: ((0.986, 0.894, 0.771, 0.575, 0.310, 0.159), (1.0, 0.0, 0.0)),
    -1.0: ((0.987, 0.899, 0.783, 0.601, 0.371, 0.264), (0.9884, 0.0116, 0.0)),
    -0.8: ((1.0, 1.0, 1.0, 1.0, 1.0, 1.0), (0.5, 0.5, 0.0)),
}


def _agrees(row, y: float, spread: float, mass: float) -> None:
    spreads, masses = TABLE[y][row["sampler"]]
    for t, expected in zip(TIMES, spreads):
        assert row[f"spread_{t:g}"] == pytest.approx(expected, abs=spread), (row["sampler"], y, t)
    for i, expected in enumerate(masses):
        assert row[f"mass_{i}"] == pytest.approx(expected, abs=mass), (row["sampler"], y, i)
    for t, expected in zip(TIMES, EXACT[y][0]):
        # at the level the step reaches, up to 0.002 beyond t
        assert row[f"spread_exact_{t:g}"] == pytest.approx(expected, abs=0.008)
    for i, expected in enumerate(EXACT[y][1]):
        assert row[f"mass_exact_{i}"] == pytest.approx(expected, abs=1e-4)


def _verdicts_hold(verdicts: list[str]) -> None:
    def of(key: str) -> str:
        return next(v for v in verdicts if v.startswith(f"y = -1.8: {key} "))

    assert "under-spreads" in of("sigma_dps")
    assert "over-spreads" in of("pigdm_ratio")
    share = float(of("pigdm_ratio").split("it puts ")[1].split("%")[0])
    assert share == pytest.approx(9.7, abs=1.5)
    assert "is mild" in of("tmpd")
    assert "keeps the spread" in of("finite_sample")


def test_a_tenth_of_the_particles_at_one_observation(tmp_path):
    """4096 particles: 4.5 standard errors on top of the tolerance of the full study."""
    settings = {"samples": 4096, "observation.values": [-1.8], "figures": []}
    study = mempost.run(CONFIG, out=tmp_path, set=settings)
    rows = [row for row in study.rows if row["sampler"] != "exact"]
    assert len(rows) == 6
    for row in rows:
        _agrees(row, -1.8, spread=0.02 + 4.5 * 0.011, mass=0.015 + 4.5 * 0.005)


@pytest.mark.slow
def test_the_whole_table(tmp_path):
    study = mempost.run(CONFIG, out=tmp_path, workers=2)
    assert study.ok
    rows = [row for row in study.rows if row["sampler"] != "exact"]
    assert len(rows) == 18
    for row in rows:
        _agrees(row, row["observation.values"], spread=0.02, mass=0.015)
    _verdicts_hold(study.verdicts)
