"""Draws that are wrong inside narrow modes, or along a coordinate of small scale, are seen."""

import math

import pytest
import torch

import mempost
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.methods.mixtures.full_mixture import FullMixture
from mempost.methods.statistics.local_coordinates import local_coordinates
from mempost.plugins.samplers.exact_lgm import ExactLGM

DISTANCES = ("mmd", "energy_distance", "sliced_wasserstein")
NARROW = 1e-4


def rows(exact, wrong, metrics, out, reference="exact_lgm", std=1e6, draws=500):
    """Exact draws under one mixture, wrong ones under another, from data that say nothing."""
    dimension = len(exact["means"][0])
    spec = {
        "title": "modes",
        "prior": {"type": "gaussian_mixture", **exact},
        "priors": {"wrong": {"type": "gaussian_mixture", **wrong}},
        "operator": {"type": "identity"},
        "noise": {"std": std},
        "observation": {"values": [0.0] * dimension},
        "samplers": {"exact": {"type": reference}, "wrong": {"type": "exact_lgm"}},
        "samples": draws,
        "metrics": [{"type": m, **({} if m == "c2st" else {"resamples": 50})} for m in metrics],
    }
    return mempost.run(spec, out=out).rows


def seen(row, name):
    return row[name] > row[f"{name}_null_high"]


def modes(d, variances=(NARROW, NARROW), **more):
    return {"means": [[-1.0] * d, [1.0] * d], "covariances": list(variances), **more}


@pytest.mark.parametrize(("d", "tv"), [(1, 0.484), (3, 0.784)])
def test_modes_three_times_too_wide(d, tv, tmp_path):
    """Total variation of N(0, I) and N(0, 9 I) in closed form bounds what a classifier can do."""
    exact, wrong = rows(modes(d), modes(d, (9 * NARROW,) * 2), ("c2st", *DISTANCES), tmp_path)
    r = math.sqrt(9 / 8 * d * math.log(9))  # where the densities cross
    chi = torch.distributions.Chi2(d)
    radii = torch.tensor([r**2, r**2 / 9], dtype=torch.float64)
    inside = torch.special.gammainc(torch.tensor(d / 2).double(), radii / 2)
    assert float(inside[0] - inside[1]) == pytest.approx(tv, abs=1e-3) and chi.df == d
    error = math.sqrt(0.25 / 1000)
    assert wrong["c2st"] == pytest.approx(0.5 + tv / 2, abs=3 * error)
    assert wrong["c2st_p"] < 1e-10 < 1e-3 < exact["c2st_p"]
    for name in DISTANCES:
        assert seen(wrong, f"{name}_local") and not seen(wrong, name)
        assert not seen(exact, f"{name}_local")


@pytest.mark.parametrize(
    "covariances",
    [
        [[[1e-4, -9e-5], [-9e-5, 1e-4]]] * 2,  # turned by a right angle
        [[[4e-5, 3.6e-5], [3.6e-5, 4e-5]]] * 2,  # too narrow
    ],
)
def test_siblings_inside_the_modes(covariances, tmp_path):
    right = modes(2, [[[1e-4, 9e-5], [9e-5, 1e-4]]] * 2)
    wrong = rows(right, modes(2, covariances), DISTANCES, tmp_path)[1]
    for name in DISTANCES:
        assert seen(wrong, f"{name}_local") and not seen(wrong, name)


def test_coordinates_of_different_scale(tmp_path):
    """Standard deviations 1000 and 1, the second three times too wide."""
    right = {"means": [[0.0, 0.0]], "covariances": [[1e6, 1.0]]}
    wrong = {"means": [[0.0, 0.0]], "covariances": [[1e6, 9.0]]}
    found = rows(right, wrong, DISTANCES, tmp_path, std=1e9)[1]
    for name in DISTANCES:
        assert seen(found, f"{name}_local") and not seen(found, name)


def test_a_reference_that_has_a_density_alone(tmp_path):
    """Quadrature has no components: the log density is a coordinate."""
    exact, wrong = rows(
        modes(1), modes(1, (9 * NARROW,) * 2), DISTANCES, tmp_path, "quadrature", std=3.0
    )
    for name in DISTANCES:
        assert seen(wrong, f"{name}_local") and not seen(exact, f"{name}_local")


def test_wrong_masses_are_seen_in_x_and_not_inside(tmp_path):
    wrong = rows(modes(1), modes(1, weights=[0.8, 0.2]), DISTANCES, tmp_path)[1]
    for name in DISTANCES:
        assert seen(wrong, name) and not seen(wrong, f"{name}_local")


def posterior(scale, correlation=0.9):
    """A mixture of two in coordinates of any units."""
    one = torch.tensor([[1.0, correlation], [correlation, 1.0]]).double()
    covariances = torch.stack([one, 0.25 * one]) * scale[:, None] * scale
    means = torch.tensor([[-3.0, 0.0], [3.0, 1.0]]).double() * scale
    prior = FullMixture.from_covariances(torch.tensor([0.3, 0.7]).double(), means, covariances)
    identity = REGISTRIES["operator"].get("identity")()
    y = torch.zeros(2, dtype=torch.float64)
    return ExactLGM().posterior(InverseProblem(prior, identity, GaussianNoise(1e14), y))


@pytest.mark.parametrize("scale", [[1e-6, 1e-6], [1.0, 1e3], [1e-3, 1.0]])
def test_local_coordinates_have_no_units(scale):
    one, c = torch.ones(2).double(), torch.tensor(scale, dtype=torch.float64)
    x = posterior(one).sample(200, Streams(0, "sampling"))
    t = local_coordinates(posterior(one), x)(x)
    assert t.mean(0).tolist() == pytest.approx([0, 0], abs=4 / math.sqrt(200))
    assert t.std(0).tolist() == pytest.approx([1, 1], abs=4 / math.sqrt(400))
    found = local_coordinates(posterior(c), c * x)(c * x)
    torch.testing.assert_close(found, t, rtol=1e-9, atol=1e-9)


def test_atoms_have_no_inside():
    prior = REGISTRIES["prior"].get("empirical_gmm")(bandwidth=0.0)
    identity = REGISTRIES["operator"].get("identity")()
    fitted, y = prior.fit(torch.eye(2)), torch.zeros(2)
    exact = ExactLGM().posterior(InverseProblem(fitted, identity, GaussianNoise(1.0), y))
    assert local_coordinates(exact, fitted.means) is None
