"""A sampler of somebody else joins the comparison of the lens through its spec entry alone."""

import csv
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "configs" / "lens_three_atoms.yaml"
SPEC = f"""
extends: {CONFIG}
observation: {{values: [-1.0]}}
sweep: null
samplers:
  somebodys: {{type: rejection}}
  finite_sample: {{tile: 32, steps: 50}}
  sigma_dps: null
  zeta_dps: null
  pigdm_ratio: null
  pigdm_variance: null
  tmpd: null
samples: 512
"""


def test_a_third_party_sampler_in_the_comparison(mempost, tmp_path):
    path = tmp_path / "with_rejection.yaml"
    path.write_text(SPEC)
    done = mempost("run", path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "table.csv") as file:
        rows = {row["sampler"]: row for row in csv.DictReader(file)}
    row = rows["somebodys"]
    # it draws exactly: 512 binomial draws, and a copy of an atom every time
    assert float(row["mass_0"]) == pytest.approx(0.9884, abs=4.5 * (0.9884 * 0.0116 / 512) ** 0.5)
    assert float(row["hallucinated_mass"]) == float(row["off_atom_mass"]) == 0.0
    assert row["spread_0.3"] == "" and float(rows["finite_sample"]["spread_0.3"]) > 0.5
    assert (tmp_path / "out" / "figures" / "lens_masses.png").exists()
