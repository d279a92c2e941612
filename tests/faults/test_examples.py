"""Repeated, constant and extreme training examples: points count, and distances keep digits."""

import numpy as np
import pytest
import torch

import mempost
from mempost.core.errors import MempostWarning, SpecError
from mempost.core.level import NoiseLevel
from mempost.core.streams import Streams
from mempost.experiments.run import check, load
from mempost.methods.geometry.distinct import Distinct, distinct_components
from mempost.methods.geometry.pairwise import nearest_distances, squared_distances
from mempost.methods.mixtures.full_mixture import FullMixture
from mempost.methods.mixtures.kernel_mixture import KernelMixture

REPEATED = "ignore::mempost.core.errors.MempostWarning"
COUNTING = [
    {"type": "effective_modes"},
    {"type": "collapse"},
    {"type": "posterior_support"},
    {"type": "nearest_neighbour", "resamples": 20},
    {"type": "dominance_bandwidth"},
]


def study(values, samplers, metrics, out, bandwidth=0.02, std=0.1, y=(0.01, 0.01), **more):
    return mempost.run(
        {
            "title": "examples",
            "data": {"type": "points", "values": np.asarray(values).tolist(), **more},
            "prior": {"type": "empirical_gmm", "bandwidth": bandwidth},
            "operator": {"type": "identity"},
            "noise": {"std": std},
            "observation": {"values": list(y)},
            "samplers": samplers,
            "samples": 64,
            "metrics": metrics,
        },
        out=out,
    ).rows


@pytest.mark.filterwarnings(REPEATED)
def test_one_example_that_stands_ten_times_is_one_mode(tmp_path):
    """The datum lies on it: w = 1 - 1e-40 on one point."""
    others = [[3, 0], [0, 3], [-3, 0], [0, -3], [3, 3]]
    samplers = {"exact": {"type": "exact_lgm"}, "weights": {"type": "finite_sample_weights"}}
    metrics = [*COUNTING[:3], {"type": "component_mass"}, {"type": "mode_mass_error"}]
    for row in study([[0, 0]] * 10 + others, samplers, metrics, tmp_path):
        for name in ("effective_modes", "effective_number", "max_mass", "best_mass", "mass_0"):
            assert row[name] == pytest.approx(1, abs=1e-12)
        assert [name for name in row if name.startswith("mass_")] == [
            f"mass_{i}" for i in (0, *range(10, 15))
        ]
        assert row["mode_mass_error"] == pytest.approx(0, abs=1e-12)
        assert 0 <= row["atom_distance"] < 0.02
        assert row["separation_bandwidth"] > 1 and row["separation_noise"] > 1
        if row["sampler"] == "weights":
            assert (row["support_size"], row["support_of"]) == (1, 6)
            assert row["support_largest"] == pytest.approx(1)
            # |r|^2 / 2 gamma^2 beyond that of the copies, and log 10 for their number
            gap = (2.99**2 + 0.01**2 - 2 * 0.01**2) / 0.02 + np.log(10)
            assert row["support_gap"] == pytest.approx(gap, rel=1e-9)


@pytest.mark.filterwarnings(REPEATED)
def test_repeating_every_example_changes_nothing(tmp_path):
    x = np.array([[-1.5], [-0.4], [0.4], [1.2], [2.5]])
    samplers = {"exact": {"type": "exact_lgm"}, "weights": {"type": "finite_sample_weights"}}
    held_out = {"held_out": [[0.1], [2.0]]}
    once, thrice = (
        study(values, samplers, COUNTING, tmp_path / name, 0.3, 0.5, [0.2], **held_out)
        for name, values in (("once", x), ("thrice", np.repeat(x, 3, 0)))
    )
    for a, b in zip(once, thrice, strict=True):
        assert a.keys() == b.keys()
        drawn = ("nn_", "atom_")  # of draws: other random numbers choose among more components
        for name in (n for n in a if isinstance(a[n], float)):
            if not name.startswith(drawn) or "held_out" in name or "leave_one_out" in name:
                assert b[name] == pytest.approx(a[name], rel=1e-9, abs=1e-12, nan_ok=True), name


@pytest.mark.filterwarnings(REPEATED)
def test_a_repeated_example_competes_with_all_its_weight(tmp_path):
    """Two points 2 apart, one of them c times: half of the other's mass has left where
    c exp(-2 / (gamma^2 + h^2)) = 1, and of its own where exp(-2 / (gamma^2 + h^2)) = c."""
    samplers, gamma, c = {"exact": {"type": "exact_lgm"}}, 0.3, 7
    metrics = [{"type": "collapse", "examples": 2}]
    row = study([[1.0]] + c * [[-1.0]], samplers, metrics, tmp_path, 0.1, gamma, [0.0])[0]
    # the lower median of the two scales, of which the second is infinite
    expected = np.sqrt(2 / np.log(c) - gamma**2)
    assert row["separation_bandwidth"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings(REPEATED)
def test_distinct_neighbours_are_points(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    metrics = [{"type": "nearest_neighbour", "resamples": 20}]
    samplers = {"exact": {"type": "exact_lgm"}}
    row = study(np.concatenate([x] * 10), samplers, metrics, tmp_path, 0.02, 2.0, x[3])[0]
    assert 10 < row["nn_distinct"] <= 20
    assert row["nn_third_rate"] == 1  # the second neighbour is another point, not a copy
    assert row["nn_rate_leave_one_out"] < 1


@pytest.mark.filterwarnings(REPEATED)
def test_examples_that_are_all_equal_have_no_second_neighbour(tmp_path):
    samplers = {"exact": {"type": "exact_lgm"}}
    row = study([[1.0]] * 5, samplers, COUNTING, tmp_path, y=[1.0])[0]
    assert row["effective_modes"] == pytest.approx(1)
    assert not any(name.startswith("nn_") for name in row)


def test_equal_components_of_a_mixture_are_one():
    eye = torch.eye(2, dtype=torch.float64)
    tilted = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    covariances = torch.stack([eye, tilted, eye, tilted.mT, 2 * eye])
    means = torch.zeros(5, 2, dtype=torch.float64)
    mixture = FullMixture.from_covariances(torch.full((5,), 0.2).double(), means, covariances)
    assert distinct_components(mixture).first.tolist() == [0, 1, 4]


def test_points_stand_in_the_order_of_their_first_example():
    rows = torch.tensor([[2.0, 0], [1, 1], [2, -0.0], [0, 0], [1, 1], [2, 0]])
    points = Distinct.of(rows)
    assert points.first.tolist() == [0, 1, 3]
    assert points.place.tolist() == [0, 1, 0, 2, 1, 0]
    assert points.copies.tolist() == [3, 2, 1]
    assert points.total(torch.arange(6.0)).tolist() == [7, 5, 3]


@pytest.mark.filterwarnings(REPEATED)
@pytest.mark.parametrize("fill", [1e12, 1e20, 1e100])
def test_one_fill_value_costs_the_others_nothing(fill, tmp_path):
    """E[x | z] by direct sums; exact atoms are copies."""
    x = np.append(np.arange(200.0), fill)[:, None]
    z = torch.tensor([[3.3], [77.6], [0.9999 * fill]], dtype=torch.float64)
    prior = KernelMixture(torch.tensor(x), 0.0)
    w = np.exp(-((z[:2].numpy() - x[:200].T) ** 2) / 0.5)
    right = [*(w @ x[:200])[:, 0] / w.sum(1), fill]
    for level in (NoiseLevel(1.0, 0.5), NoiseLevel(1e-3, 0.5e-3)):
        found = prior.denoise(level.a * z, level)[:, 0].tolist()
        assert found == pytest.approx(right, rel=1e-13)
    samplers = {"exact": {"type": "exact_lgm"}}
    metrics = [{"type": "nearest_neighbour", "tolerance": 1e-3, "resamples": 20}]
    held = {"held_out": np.arange(0.3, 150.0)[:, None].tolist()}
    row = study(x, samplers, metrics, tmp_path, 0.0, 5.0, [0.0], **held)[0]
    assert [row[f"nn_{name}"] for name in ("rate", "third_rate", "tolerance_rate")] == [1, 1, 1]


def test_many_fill_values_in_many_examples():
    """Land masks: a third of all numbers are 1e20. Distances to the nearest are those within."""
    stream = Streams(0, "data").at()
    x = stream.normal((60, 5))
    x = torch.where(stream.uniform((20, 5)) < 0.3, 1e20, x.reshape(3, 20, 5)).reshape(60, 5)
    expected = (x[:, None] - x).square().sum(-1)
    torch.testing.assert_close(squared_distances(x, x), expected, rtol=1e-11, atol=0)
    found = nearest_distances(x, x, 3)[0]
    torch.testing.assert_close(found, expected.sort(1).values[:, :3].sqrt(), rtol=1e-11, atol=0)
    assert bool((found < 10).all())


def test_neighbours_within_narrow_clusters():
    """Clusters 1e9 times narrower than they are apart: the product has no digit of them."""
    x = Streams(0, "data").at().normal((40, 3)) * 1e-9
    x[::2] += 1.0
    expected = (x[:, None] - x).square().sum(-1).sqrt()
    found, index = nearest_distances(x, x, 4)
    torch.testing.assert_close(found, expected.sort(1).values[:, :4], rtol=1e-9, atol=0)
    assert torch.equal(index, expected.sort(1).indices[:, :4])
    level = NoiseLevel(1.0, 1e-9)
    z = x + 1e-9
    w = torch.softmax(-(z[:, None] - x).square().sum(-1) / 2e-18, 1)
    w_found = KernelMixture(x, 0.0).responsibilities(z, level)
    torch.testing.assert_close(w_found, w, rtol=1e-6, atol=1e-9)


def checked(data, **more):
    spec = {
        "title": "examples",
        "data": {"type": "points", **data},
        "prior": {"type": "empirical_gmm"},
        "samplers": {"prior": {"type": "reverse_diffusion"}},
        "samples": 4,
        **more,
    }
    check(load(spec)[0], "spec")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"values": [[0.0], [1.0], [0.0], [2.0], [0.0]]},
            r"2 of 5 training examples repeat earlier ones \(example 0 stands 3 times\)",
        ),
        (
            {"values": [[0.0], [1.0]], "held_out": [[0.5], [1.0]]},
            "1 of 2 held-out examples are training examples too",
        ),
        ({"values": [[0.1], [0.2], [0.0], [1e20]]}, r"training example 3 holds 1e\+20"),
        (
            {"values": [[0.1, 0.2], [0.2, -9999], [0.3, 0.5]]},
            "training example 1 holds -9999",
        ),
    ],
)
def test_examples_that_are_not_what_one_would_think_are_named(data, said):
    with pytest.warns(MempostWarning, match=said) as found:
        checked(data)
    assert len(found) == 1


@pytest.mark.filterwarnings("error")
def test_ordinary_examples_are_not_mentioned():
    values = Streams(0, "data").at().normal((50, 3)).square().tolist()
    checked({"values": values, "held_out": [[0.5, 1.0, 2.0]]})


def test_numbers_whose_squares_do_not_fit_are_refused():
    with pytest.raises(SpecError, match="example 1 holds -1e\\+20, whose square float32 cannot"):
        checked({"values": [[0.0], [-1e20]]}, dtype="float32")
    with pytest.raises(SpecError, match="held-out example 0 holds 1e\\+200, whose square float64"):
        checked({"values": [[0.0]], "held_out": [[1e200]]})
