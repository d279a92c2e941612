"""The shipped specs reproduce the reference values of the paper's stylized problems."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

import mempost

CONFIGS = Path(__file__).parents[2] / "configs"

# bandwidth: exact mean, std, masses; total variation of the mixture with and without the
# log-determinant (computed once by fine-grid integration, independently of this package)
ONE_D = {
    0.5: (0.0110, 0.2646, [0.0178, 0.4595, 0.4595, 0.0631, 0.0000], 0.119, 0.236),
    0.3: (0.0040, 0.2742, [0.0006, 0.4953, 0.4953, 0.0087, 0.0000], 0.0375, 0.0643),
    0.05: (0.0000, 0.3902, [0.0000, 0.5, 0.5, 0.0000, 0.0000], 0.0018, 0.0018),
}
ONE_D_WEIGHTS = {
    "lgm": [0.0572, 0.4174, 0.4174, 0.0983, 0.0097],
    "lgm_without_log_determinant": [0.1137, 0.3473, 0.3473, 0.1502, 0.0415],
}
# bandwidth: exact mean, masses of components 0, 1, 4, first weight with / without, TV likewise
TWO_D = {
    0.5: ((1.666, -0.1991), (0.9885, 0.00915, 0.00236), (0.9880, 0.9814), (0.0679, 0.0699)),
    0.3: ((1.7397, -0.1787), (0.9995, 0.00049, 0.0), (0.9994, 0.9992), (0.0285, 0.0285)),
    0.05: ((1.9762, -0.0196), (0.99999, 1e-5, 0.0), (1.0, 1.0), (0.002, 0.002)),
}


def rows(study):
    with (study.store.folder / "table.csv").open() as file:
        found = list(csv.DictReader(file))
    return {(float(r.get("prior.bandwidth", "nan")), r["sampler"]): r for r in found}


def numbers(row, *names):
    return [float(row[name]) for name in names]


MASSES = [f"mass_{i}" for i in range(5)]


@pytest.fixture(scope="module")
def one_d(tmp_path_factory):
    out = tmp_path_factory.mktemp("figure1_1d")
    return rows(mempost.run(CONFIGS / "figure1_1d.yaml", out=out))


@pytest.mark.parametrize("bandwidth", ONE_D)
def test_figure_1_in_one_dimension(one_d, bandwidth):
    mean, std, masses, with_det, without = ONE_D[bandwidth]
    exact = one_d[bandwidth, "exact"]
    assert numbers(exact, "mean_0", "std_0") == pytest.approx([mean, std], abs=1e-4)
    assert numbers(exact, *MASSES) == pytest.approx(masses, abs=1e-4)
    lgm, bare = one_d[bandwidth, "lgm"], one_d[bandwidth, "lgm_without_log_determinant"]
    assert numbers(exact, "tv_to_exact") == [0]
    assert numbers(lgm, "tv_to_exact") == pytest.approx([with_det], abs=1e-3)
    assert numbers(bare, "tv_to_exact") == pytest.approx([without], abs=1e-3)


@pytest.mark.parametrize("sampler", ONE_D_WEIGHTS)
def test_linearised_weights(one_d, sampler):
    expected = ONE_D_WEIGHTS[sampler]
    assert numbers(one_d[0.5, sampler], *MASSES) == pytest.approx(expected, abs=1e-4)


def test_figure_1_in_two_dimensions(tmp_path):
    table = rows(mempost.run(CONFIGS / "figure1_2d.yaml", out=tmp_path))
    for bandwidth, (mean, masses, weights, distances) in TWO_D.items():
        exact = table[bandwidth, "exact"]
        assert numbers(exact, "mean_0", "mean_1") == pytest.approx(mean, abs=1e-3)
        assert numbers(exact, "mass_0", "mass_1", "mass_4") == pytest.approx(masses, abs=1e-4)
        pair = [table[bandwidth, k] for k in ("lgm", "lgm_without_log_determinant")]
        assert [float(r["mass_0"]) for r in pair] == pytest.approx(weights, abs=1e-3)
        assert [float(r["tv_to_exact"]) for r in pair] == pytest.approx(distances, abs=1e-3)


def test_another_problem_through_overrides(tmp_path):
    changes = {"noise.std": 0.2, "observation.values": [0.5]}
    table = rows(mempost.run(CONFIGS / "figure1_1d.yaml", set=changes, out=tmp_path))
    atoms = np.array([-1.5, -0.4, 0.4, 1.2, 2.5])
    for bandwidth in ONE_D:

        def density(x, n, h=bandwidth):
            residual = 0.5 - (x + 0.3 * x**3)
            return stats.norm.pdf(x, atoms[n], h) * np.exp(-0.5 * (residual / 0.2) ** 2)

        # the integrands are smooth and narrow: split the line at the atoms and between them
        nodes = np.linspace(-4, 5, 361)

        def integral(f, nodes=nodes):
            return sum(integrate.fixed_quad(f, a, b, n=12)[0] for a, b in pairwise(nodes))

        parts = np.array([integral(lambda x, n=n: density(x, n)) for n in range(5)])
        first = sum(integral(lambda x, n=n: x * density(x, n)) for n in range(5)) / parts.sum()
        exact = table[bandwidth, "exact"]
        assert numbers(exact, *MASSES) == pytest.approx(parts / parts.sum(), abs=1e-8)
        assert numbers(exact, "mean_0") == pytest.approx([first], abs=1e-8)


def test_effective_modes_at_reference_bandwidths(tmp_path):
    changes = {"sweep": {"data.n": [3, 5, 10, 20, 100], "prior.bandwidth": [0.01, 0.05, 0.3, 5.0]}}
    study = mempost.run(CONFIGS / "effective_modes.yaml", set=changes, out=tmp_path)
    expected = {
        3: ([1.000, 1.000, 1.000, 2.989], 0.3750),
        5: ([1.000, 1.000, 1.011, 4.986], 0.2980),
        10: ([2.003, 2.006, 2.511, 9.980], 0.2157),
        20: ([3.493, 3.554, 5.329, 19.966], 0.1544),
        100: ([18.27, 18.58, 27.45, 99.86], 0.0696),
    }
    for n, (modes, critical) in expected.items():
        part = study.table[study.table["data.n"] == n]
        # the reference used 2000 nodes on [-5, 5]; at bandwidth 5 that cuts the prior's tails
        assert list(part["effective_modes"]) == pytest.approx(modes, rel=2e-3)
        assert list(part["dominance_bandwidth"]) == pytest.approx([critical] * 4, abs=1e-4)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_spec_is_valid(path):
    from mempost.experiments.run import check, load

    check(load(path)[0], path.name)
