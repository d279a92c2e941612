"""The datasets: nested in N, disjoint from their held-out examples, distributed as they say."""

from __future__ import annotations

import io
import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mempost.core.dataset import Dataset
from mempost.core.errors import CorruptFileError, PluginError, SpecError
from mempost.core.identity import file_hashes
from mempost.core.streams import Streams
from mempost.plugins.datasets.digits import Digits
from mempost.plugins.datasets.equispaced import Equispaced
from mempost.plugins.datasets.file import File
from mempost.plugins.datasets.gaussian import GaussianData
from mempost.plugins.datasets.gaussian_mixture import GaussianMixtureData
from mempost.plugins.datasets.points import Points
from mempost.plugins.datasets.regular_polygon import RegularPolygon

STREAMS = Streams(7, "data")
MEAN, COVARIANCE = [1.0, -2.0, 0.5], [[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]]
GAUSSIAN = GaussianData(mean=MEAN, covariance=COVARIANCE)
MIXTURE = GaussianMixtureData(
    weights=[1, 3],
    means=[[-20.0, 0.0], [20.0, 5.0]],
    covariances=[[[1.0, 0.5], [0.5, 2.0]], [[4.0, -1.0], [-1.0, 1.0]]],
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    np.save(tmp_path / "table.npy", np.arange(60.0).reshape(30, 2))
    return tmp_path / "table.npy"


def sized(dataset: Dataset, n_train: int, n_held_out: int) -> Dataset:
    return dataset.model_copy(update={"n_train": n_train, "n_held_out": n_held_out})


def rows(x: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.flatten(1).tolist()}


# -- what holds for all that take sizes -----------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "gaussian_mixture", "digits", "random", "file"])
def test_sets_are_nested_disjoint_and_decided_by_the_seed(name: str, table: Path) -> None:
    dataset = {
        "gaussian": GAUSSIAN,
        "gaussian_mixture": MIXTURE,
        "digits": Digits(),
        "random": File(path=table),
        "file": File(path=table, order="file"),
    }[name]
    small, large = sized(dataset, 5, 3).load(STREAMS), sized(dataset, 20, 10).load(STREAMS)
    assert (len(small.train), len(small.held_out)) == (5, 3)
    assert torch.equal(small.train, large.train[:5])
    assert torch.equal(small.held_out, large.held_out[:3])
    assert not rows(large.train) & rows(large.held_out)
    assert len(rows(large.train) | rows(large.held_out)) == 30
    assert large.train.dtype == large.held_out.dtype == torch.float64
    again = sized(dataset, 20, 10).load(Streams(7, "data"))
    assert torch.equal(again.train, large.train) and torch.equal(again.held_out, large.held_out)
    other = sized(dataset, 20, 10).load(Streams(8, "data"))
    assert torch.equal(other.train, large.train) == (name == "file")
    empty = sized(dataset, 5, 0).load(STREAMS)
    assert empty.held_out.shape == (0, *small.train.shape[1:])


# -- distributions ----------------------------------------------------------------------------


def test_gaussian_moments() -> None:
    n = 40_000
    data = sized(GAUSSIAN, n, n).load(STREAMS)
    mean, covariance = (
        torch.tensor(MEAN, dtype=torch.float64),
        torch.tensor(COVARIANCE, dtype=torch.float64),
    )
    variance = covariance.diagonal()
    for x in (data.train, data.held_out):
        assert ((x.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
        # the variance of a sample covariance is (C_ii C_jj + C_ij^2)/n
        error = 5 * ((variance[:, None] * variance + covariance**2) / n).sqrt()
        assert ((torch.cov(x.T) - covariance).abs() < error).all()
    cross = (data.train - mean).T @ (data.held_out - mean) / n
    assert (cross.abs() < 5 * (variance[:, None] * variance / n).sqrt()).all()


def test_gaussian_mixture_moments() -> None:
    n = 40_000
    x = sized(MIXTURE, n, 0).load(STREAMS).train
    second = x[:, 0] > 0  # the components are 20 standard deviations apart
    assert abs(int(second.sum()) - 0.75 * n) < 5 * math.sqrt(n * 0.75 * 0.25)
    for i, part in enumerate((x[~second], x[second])):
        mean, covariance = MIXTURE.means.tensor()[i], MIXTURE.covariances.tensor()[i]
        variance = covariance.diagonal()
        assert ((part.mean(0) - mean).abs() < 5 * (variance / len(part)).sqrt()).all()
        error = 5 * ((variance[:, None] * variance + covariance**2) / len(part)).sqrt()
        assert ((torch.cov(part.T) - covariance).abs() < error).all()


def test_gaussian_mixture_with_a_shared_covariance_and_equal_weights() -> None:
    shared = GaussianMixtureData(means=[[-3.0], [3.0]], covariances=[[[0.7225]]])
    written = GaussianMixtureData(
        means=[[-3.0], [3.0]], covariances=[[[0.7225]]] * 2, weights=[0.5, 0.5]
    )
    assert torch.equal(shared.load(STREAMS).train, written.load(STREAMS).train)
    never = GaussianMixtureData(means=[[-3.0], [3.0]], covariances=[[[0.01]]], weights=[0, 1])
    assert (never.load(STREAMS).train > 0).all()


@pytest.mark.parametrize(
    "cls, fields, message",
    [
        (GaussianData, {"mean": [0, 0], "covariance": [[1]]}, r"shape \(2, 2\) .*found \(1, 1\)"),
        (GaussianData, {"mean": [0, 0], "covariance": [[1, 1], [0, 1]]}, "symmetric"),
        (GaussianData, {"mean": [0, 0], "covariance": [[1, 2], [2, 1]]}, "positive definite"),
        (GaussianData, {"mean": [0], "covariance": [[1]], "n_train": 0}, "greater than or equal"),
        (
            GaussianMixtureData,
            {"means": [[0], [1]], "covariances": [[[1]]] * 3},
            "should have shape",
        ),
        (GaussianMixtureData, {"means": [[0]], "covariances": [[[-1]]]}, "covariances.0 should be"),
        (
            GaussianMixtureData,
            {"means": [[0]], "covariances": [[[1]]], "weights": [1, 1]},
            "weights should hold 1 numbers, found 2",
        ),
        (
            GaussianMixtureData,
            {"means": [[0], [1]], "covariances": [[[1]]], "weights": [-1, 2]},
            "not be negative",
        ),
        (GaussianMixtureData, {"means": [[0]], "covariances": [[[1]]], "weights": [0]}, "all zero"),
    ],
)
def test_distributions_refuse(cls: type[Dataset], fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        cls.model_validate(fields)


# -- points -----------------------------------------------------------------------------------


def test_points() -> None:
    data = Points(values=[[-1.5], [0.4]]).load(STREAMS)
    assert data.train.tolist() == [[-1.5], [0.4]]
    assert data.held_out.shape == (0, 1)
    images = Points(values=np.zeros((2, 4, 4)), held_out=np.ones((3, 4, 4))).load(STREAMS)
    assert images.train.shape == (2, 4, 4)
    assert images.held_out.shape == (3, 4, 4)
    with pytest.raises(ValidationError, match="list of points"):
        Points(values=[1.0, 2.0])
    with pytest.raises(ValidationError, match=r"shape \(1,\), found shape \(1, 2\)"):
        Points(values=[[1.0]], held_out=[[1.0, 2.0]])
    with pytest.raises(ValidationError, match="real numbers only"):
        Points(values={"real": [[1.0]], "imag": [[1.0]]})


def test_equispaced_gives_the_reference_numbers_of_modes() -> None:
    """Modes exp(H) of the masses by quadrature, with F(x) = x + 0.3 x^3, y = 0, noise 0.3."""
    expected = {
        3: (1.000, 1.000, 2.989),
        5: (1.000, 1.011, 4.986),
        10: (2.006, 2.511, 9.980),
        20: (3.554, 5.329, 19.966),
        100: (18.58, 27.45, 99.86),
    }
    grid = np.linspace(-5, 5, 2000)
    log_likelihood = -((grid + 0.3 * grid**3) ** 2) / (2 * 0.3**2)
    for n, modes in expected.items():
        x = Equispaced(n=n).load(STREAMS).train.numpy()
        for bandwidth, value in zip((0.05, 0.3, 5), modes):
            log_joint = log_likelihood - (grid - x) ** 2 / (2 * bandwidth**2)
            mass = np.exp(log_joint - log_joint.max()).sum(1)
            mass = mass[mass > 0] / mass.sum()
            assert np.exp(-(mass * np.log(mass)).sum()) == pytest.approx(value, rel=6e-4)


def test_equispaced_gives_the_reference_dominance_bandwidths() -> None:
    """sqrt(6/(N - 1) * noise / mean F'), with F' = 1 + 0.9 x^2 and noise 0.3."""
    for n, expected in ((3, 0.3750), (5, 0.2980), (10, 0.2157), (20, 0.1544), (100, 0.0696)):
        x = Equispaced(n=n).load(STREAMS).train
        slope = float((1 + 0.9 * x**2).mean())
        assert math.sqrt(6 / (n - 1) * 0.3 / slope) == pytest.approx(expected, abs=6e-5)


@settings(max_examples=60)
@given(pool=st.integers(2, 400), data=st.data())
def test_equispaced_chooses_different_points_of_the_pool(pool: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, pool))
    loaded = Equispaced(low=-1, high=2, pool=pool, n=n).load(STREAMS)
    x = loaded.train[:, 0].numpy()
    assert (x[0], x[-1]) == (-1, 2)
    steps = (x + 1) / 3 * (pool - 1)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert len(np.unique(np.round(steps))) == n
    lag = np.linspace(0, pool - 1, n) - steps
    assert lag.min() > -1e-9
    assert lag.max() < 1
    assert len(loaded.held_out) == pool - 1
    assert not rows(loaded.train) & rows(loaded.held_out)


def test_equispaced_refuses() -> None:
    with pytest.raises(ValidationError, match="n should be at most the pool's 10, found 11"):
        Equispaced(pool=10, n=11)
    with pytest.raises(ValidationError, match="low should be below high"):
        Equispaced(low=1, high=1)


def test_regular_polygon() -> None:
    data = RegularPolygon().load(STREAMS)
    degrees = np.deg2rad([0, 72, 144, 216, 288])
    expected = 2 * np.stack([np.cos(degrees), np.sin(degrees)], 1)
    np.testing.assert_allclose(data.train, expected, atol=1e-15)
    distances = torch.cdist(data.train, data.held_out).sort().values[:, :2]
    torch.testing.assert_close(distances, torch.full_like(distances, 4 * math.sin(math.pi / 10)))


# -- digits -----------------------------------------------------------------------------------


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    real = rows(torch.from_numpy(load_digits().images / 16))
    assert len(real) == 1797  # no image is there twice, so disjoint rows are disjoint images
    data = Digits(n_train=1400, n_held_out=397).load(STREAMS)
    assert data.train.shape == (1400, 8, 8)
    assert rows(data.train) | rows(data.held_out) == real
    assert (float(data.train.min()), float(data.train.max())) == (0.0, 1.0)


def test_digits_of_some_classes() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    label = dict(zip(map(tuple, (bunch.images / 16).reshape(-1, 64).tolist()), bunch.target))
    everything = Digits(n_train=1400, n_held_out=397).load(STREAMS)
    some = Digits(n_train=100, n_held_out=30, classes=(3, 8)).load(STREAMS)
    for part in (some.train, some.held_out):
        assert {int(label[row]) for row in rows(part)} == {3, 8}
    assert rows(some.train) <= rows(everything.train)
    assert rows(some.held_out) <= rows(everything.held_out)
    with pytest.raises(SpecError, match=r"digits.n_train: 500, but these classes have only \d+"):
        Digits(n_train=500, classes=(0,)).load(STREAMS)
    with pytest.raises(ValidationError, match="less than or equal to 9"):
        Digits(classes=(10,))
    with pytest.raises(ValidationError, match="less than or equal to 1400"):
        Digits(n_train=1401)


def test_digits_name_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        PluginError, match=r"^digits needs scikit-learn: pip install mempost\[digits\]$"
    ):
        Digits().load(STREAMS)


# -- files ------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    n=st.integers(1, 6),
    d=st.integers(1, 4),
    seed=st.integers(0, 100),
    suffix=st.sampled_from([".npy", ".npz", ".csv"]),
)
def test_files_give_back_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, n: int, d: int, seed: int, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("files") / f"x{suffix}"
    x = np.random.default_rng(seed).normal(size=(n, d)) * 10.0**seed
    if suffix == ".npy":
        np.save(path, x)
    elif suffix == ".npz":
        np.savez_compressed(path, x=x)
    else:
        np.savetxt(path, x, delimiter=",", fmt="%.17g")
    np.testing.assert_array_equal(File(path=path, order="file").load(STREAMS).train, x)


def test_files_hold_images_vectors_and_integers(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "vector.npy", np.arange(4, dtype=np.float32))
    np.savez(tmp_path / "two.npz", a=images, b=images + 1)

    def train(name: str, **fields: object) -> torch.Tensor:
        spec = {"path": tmp_path / name, "order": "file", **fields}
        return File.model_validate(spec).load(STREAMS).train

    np.testing.assert_array_equal(train("images.npy"), images)
    assert train("images.npy").dtype == torch.float64
    assert train("images.npy", shape=(1, 3, 4)).shape == (2, 1, 3, 4)
    assert train("vector.npy").tolist() == [[0], [1], [2], [3]]
    np.testing.assert_array_equal(train("two.npz", key="b"), images + 1)
    with pytest.raises(SpecError, match=r"two\.npz: name one of its arrays as key; they are a, b"):
        train("two.npz")
    with pytest.raises(SpecError, match=r"no array 'aa'; allowed are a, b\. Did you mean 'a'"):
        train("two.npz", key="aa")
    with pytest.raises(SpecError, match=r"examples of shape \(3, 4\), not of shape \(5,\)"):
        train("images.npy", shape=(5,))


def test_csv_dialects(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"

    def train(text: str, **fields: object) -> list[list[float]]:
        path.write_text(text, encoding="utf-8")
        spec = {"path": path, "order": "file", **fields}
        return File.model_validate(spec).load(STREAMS).train.tolist()

    assert train("1,2.5\n3,4\n") == [[1, 2.5], [3, 4]]
    assert train("u, v\n1, 2\n3, 4", header=True, decimal=".") == [[1, 2], [3, 4]]
    assert train("\ufeff# a comment\n1,2\n\n3,4.0\n") == [[1, 2], [3, 4]]
    assert train("1\n2\n") == [[1], [2]]
    assert train("1,-2e3") == [[1, -2000]]


def test_split_sizes(table: Path) -> None:
    data = File(path=table, order="file", n_held_out=10).load(STREAMS)
    assert (len(data.train), len(data.held_out)) == (20, 10)
    assert data.train[0].tolist() == [0, 1]
    assert data.held_out[0].tolist() == [58, 59]
    for n_train, n_held_out in ((21, 10), (None, 30), (31, 0)):
        with pytest.raises(SpecError, match=r"table.npy: holds 30 examples, too few"):
            File(path=table, n_train=n_train, n_held_out=n_held_out).load(STREAMS)


def saved(save: object, *args: object, **arrays: object) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *args, **arrays)  # type: ignore[operator]
    return buffer.getvalue()


class Payload:
    """An object whose unpickling would be noticed."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was loaded",))


OBJECTS = np.array([Payload(), 1.0], dtype=object)
MALFORMED = {
    "text.csv": (b"1,2\n3,four\n", "could not convert string 'four'"),
    "header.csv": (b"a,b\n1,2\n", "set header: true"),
    "gap.csv": (b"1,2\n3,\n", "cannot be read as .csv"),
    "ragged.csv": (b"1,2\n3\n", "number of columns changed"),
    "nan.csv": (b"1,2\n3,nan\n", r"non-finite number at \[1, 1\]"),
    "inf.csv": (b"1,inf\n", r"non-finite number at \[0, 1\]"),
    "empty.csv": (b"", "holds no numbers"),
    "binary.csv": (bytes(range(256)), "cannot be read as .csv"),
    "complex.csv": (b"1+2j,3\n", "cannot be read as .csv"),
    "empty.npy": (b"", "cannot be read as .npy"),
    "text.npy": (b"1,2\n3,4\n", "cannot be read as .npy"),
    "pickle.npy": (pickle.dumps(Payload()), "cannot be read as .npy"),
    "objects.npy": (saved(np.save, OBJECTS), "cannot be read as .npy"),
    "objects.npz": (saved(np.savez, x=OBJECTS), "cannot be read as .npz"),
    "complex.npy": (saved(np.save, np.ones((2, 2)) * 1j), "real numbers, found complex"),
    "strings.npy": (saved(np.save, np.array([["a"]])), "should hold numbers"),
    "nan.npy": (saved(np.save, np.array([[1.0], [np.nan]])), r"non-finite number at \[1, 0\]"),
    "scalar.npy": (saved(np.save, np.array(1.0)), "no axis of examples"),
    "none.npy": (saved(np.save, np.zeros((0, 3))), "holds no numbers"),
    "flat.npy": (saved(np.save, np.zeros((3, 0))), "holds no numbers"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_named(name: str, tmp_path: Path) -> None:
    content, message = MALFORMED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptFileError, match=message) as caught:
        File(path=tmp_path / name).load(STREAMS)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_truncated_and_damaged_files_are_named(suffix: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    content = saved(np.save, x) if suffix == ".npy" else saved(np.savez_compressed, x=x)
    path = tmp_path / f"x{suffix}"
    for cut in range(0, len(content), 3):
        path.write_bytes(content[:cut])
        with pytest.raises(CorruptFileError, match=path.name):
            File(path=path).load(STREAMS)
    for place in range(0, len(content), 5):  # a damaged byte is named, or harmless
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            File(path=path).load(STREAMS)
        except (CorruptFileError, SpecError) as error:
            assert path.name in str(error)


def test_file_refuses_at_validation(tmp_path: Path) -> None:
    for name in ("x.dat", "x.npx", "x.npy", "x.csv"):
        (tmp_path / name).touch()
    for fields, message in (
        ({"path": "absent.npy"}, "No file at"),
        ({"path": "x.dat"}, "ends in '.dat'; allowed are .npy, .csv, .txt, .npz"),
        ({"path": "x.npx"}, "Did you mean '.npy'|Did you mean '.npz'"),
        ({"path": "x.npy", "key": "a"}, "key names an array of several"),
        ({"path": "x.npy", "header": True}, "header is for a .csv"),
        ({"path": "x.csv", "n_train": 0}, "greater than 0"),
        ({"path": "x.csv", "order": "sorted"}, "'random' or 'file'"),
    ):
        with pytest.raises(ValidationError, match=message):
            File.model_validate(fields, context={"folder": tmp_path})
    file = File.model_validate({"path": "x.npy"}, context={"folder": tmp_path})
    assert list(file_hashes(file)) == [str((tmp_path / "x.npy").resolve())]
